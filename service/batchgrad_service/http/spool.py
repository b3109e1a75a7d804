"""Keep long responses in temporary files while clients read them, not in memory."""

import io
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from weakref import WeakValueDictionary

IN_MEMORY_BYTES = 2**20
"""Shorter content stays in memory."""


class Spool:
    """Stores content in unnamed files in `folder`; a file disappears with its last reader."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._shared: WeakValueDictionary[str, _TemporaryFile] = WeakValueDictionary()

    def file(self, content: bytes) -> IO[bytes]:
        """`content` as a file for one reader."""
        if len(content) <= IN_MEMORY_BYTES:
            return io.BytesIO(content)
        return io.BufferedReader(_Reader(self._store(content)))

    def shared_file(self, key: str, make: Callable[[], bytes]) -> IO[bytes]:
        """The content under `key` as a file; `make` is not called while another reader has it."""
        with self._lock:
            found = self._shared.get(key)
        if found is None:
            found = self._store(make())
            with self._lock:
                self._shared[key] = found
        return io.BufferedReader(_Reader(found))

    def _store(self, content: bytes) -> "_TemporaryFile":
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed with its readers
        try:
            file.write(content)
            file.flush()
        except BaseException:
            file.close()
            raise
        return _TemporaryFile(file, len(content))


class _TemporaryFile:
    """A file that is closed when no reader refers to it."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self.size = size

    def read(self, count: int, at: int) -> bytes:
        return os.pread(self._file.fileno(), count, at)

    def __del__(self) -> None:
        self._file.close()


class _Reader(io.RawIOBase):
    """A position in a temporary file."""

    def __init__(self, shared: _TemporaryFile) -> None:
        self._shared: _TemporaryFile | None = shared
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._open().read(len(buffer), self._at)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._open().size}[whence]
        self._at = start + offset
        return self._at

    def close(self) -> None:
        self._shared = None
        super().close()

    def _open(self) -> _TemporaryFile:
        if self._shared is None:
            raise ValueError("The file is closed.")
        return self._shared
