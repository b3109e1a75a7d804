"""A cache of fetched datasets on this node, bounded in bytes, shared by all its processes.

<root>/room.lock          exclusive lock of a process that evicts contents and reserves space
<root>/NAME/held          shared lock of each process that uses the content; mtime is the last use
<root>/NAME/fetch         exclusive lock of the process that fetches; released if it is killed
<root>/NAME/partial/      files that are being fetched
<root>/NAME/content/      complete and verified files

Lock files are never removed: a process may be waiting for one.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from batchgrad_workers.data.transfers import DatasetUnavailable
from batchgrad_workers.system.durability import sync


class NodeCache:
    """At most `max_bytes` of datasets, in a private directory of this user below `parent`."""

    def __init__(self, parent: Path, max_bytes: int) -> None:
        self._root = parent / f"batchgrad-datasets-{os.getuid()}"
        self._max_bytes = max_bytes
        parent.mkdir(parents=True, exist_ok=True)
        self._root.mkdir(mode=0o700, exist_ok=True)
        found = self._root.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o777 != 0o700:
            raise DatasetUnavailable(
                f"{self._root} is not this user's private directory (mode 0700): remove it, or "
                "set BATCHGRAD_NODE_CACHE_DIR to another directory"
            )

    def hold(
        self, name: str, files: Mapping[str, int], fetch: Callable[[Path], None]
    ) -> tuple[Path, int]:
        """The directory of content `name`, and an open descriptor that prevents its eviction.

        `files` maps file names to bytes. If the content is not complete, one process calls
        `fetch(directory)`, which fills these files, already there at full size; others wait.

        Raises:
            DatasetUnavailable: there is not enough space.
        """
        entry = self._root / name
        entry.mkdir(exist_ok=True)
        content = entry / "content"
        held = _lock(entry / "held", fcntl.LOCK_SH)
        try:
            if not _is_complete(content, files):
                with _locked(entry / "fetch"):
                    if not _is_complete(content, files):  # no process fetched it meanwhile
                        self._fill(entry, files, fetch)
            now = time.time_ns()  # utime without a time has a coarser clock
            os.utime(entry / "held", ns=(now, now))
        except BaseException:
            os.close(held)
            raise
        return content, held

    def _fill(self, entry: Path, files: Mapping[str, int], fetch: Callable[[Path], None]) -> None:
        partial = entry / "partial"
        _clear(entry)
        try:
            with _locked(self._root / "room.lock"):
                self._free_space(sum(files.values()))
                partial.mkdir()
                for file, size_bytes in files.items():
                    _reserve(partial / file, size_bytes)
            fetch(partial)
            for file in files:
                sync(partial / file)
            os.utime(partial)  # no file in it is younger: see _is_complete
            sync(partial)
            with _locked(self._root / "room.lock"):  # so that _bytes counts it once
                partial.rename(entry / "content")
            sync(entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _free_space(self, needed_bytes: int) -> None:
        """Evict unused contents, least recently used first, until `needed_bytes` are free."""
        ours = [entry for entry in self._root.iterdir() if (entry / "held").is_file()]
        sizes = {entry: _bytes(entry) for entry in ours}
        used = {entry: size for entry, size in sizes.items() if size}
        disk_bytes = shutil.disk_usage(self._root).free
        free_bytes = min(self._max_bytes - sum(used.values()), disk_bytes)
        for entry in sorted(used, key=lambda entry: (entry / "held").stat().st_mtime_ns):
            if needed_bytes <= free_bytes:
                return
            if _evict(entry):
                free_bytes += used[entry]
        if needed_bytes > free_bytes:
            raise DatasetUnavailable(
                f"it has {needed_bytes} bytes, but the cache {self._root} has {free_bytes} free: "
                f"it may hold {self._max_bytes} (BATCHGRAD_NODE_CACHE_BYTES), datasets that other "
                f"jobs use stay, and the disk has {disk_bytes} free"
            )


def _is_complete(content: Path, files: Mapping[str, int]) -> bool:
    """True if every file has its expected size and is unmodified (by mtime) since verification."""
    try:
        verified = content.stat().st_mtime_ns
        found = {file: (content / file).stat() for file in files}
    except FileNotFoundError:
        return False
    return all(
        stat.st_size == files[file] and stat.st_mtime_ns <= verified for file, stat in found.items()
    )


def _bytes(entry: Path) -> int:
    """Bytes of content/ and partial/; files that vanish meanwhile count 0."""
    total = 0
    for folder, _, files in os.walk(entry):
        for file in files:
            with suppress(FileNotFoundError):
                total += (Path(folder) / file).stat().st_size
    return total


def _evict(entry: Path) -> bool:
    """Remove a content, unless a process uses or fetches it; return whether it was removed."""
    held = os.open(entry / "held", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        _clear(entry)
        return True
    finally:
        os.close(held)


def _clear(entry: Path) -> None:
    """Remove content/ and partial/; processes that have mapped a file keep its data."""
    for directory in (entry / "content", entry / "partial"):
        if directory.exists():
            shutil.rmtree(directory)


def _reserve(file: Path, size_bytes: int) -> None:
    """Create a file of this size and allocate its disk space, so that it counts from now on."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(handle, 0, size_bytes)
    finally:
        os.close(handle)


def _lock(file: Path, kind: int) -> int:
    """Wait for the lock, and return its descriptor; closing the descriptor releases the lock."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, kind)
    except BaseException:
        os.close(handle)
        raise
    return handle


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    handle = _lock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)
