"""Uploaded files, each named by its digest: received in parts, resumed, kept for a day.

A file in `data_dir`/uploads is DIGEST.BYTES.part until its BYTES bytes are there and have this
digest, then DIGEST. How much of a part has arrived is its length on the disk, and nothing else is
stored: so an upload goes on after a restart.
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from batchgrad.contract import Upload, UploadRequest
from batchgrad_service.datasets.upload_folder import Found, UploadFolder, digest_of
from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.problems import (
    ConflictError,
    InvalidError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from batchgrad_workers.system.durability import sync
from batchgrad_workers.system.files import is_content

KEPT_SECONDS = 24 * 3600.0
MAX_FILES = 256
_HASH_BYTES = 2**20


class UploadedFiles:
    """Receive, find and remove uploaded files; from any thread."""

    def __init__(
        self,
        data_dir: Path,
        disk: DiskSpace,
        *,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`max_bytes` is the longest file; `clock` is the one of files' times."""
        self._folder = UploadFolder(data_dir / "uploads")
        self._disk = disk
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.RLock()  # guards the following, and names change together
        self._users: Counter[str] = Counter()  # how many callers are inside `using`, by digest
        self._hashes: dict[str, tuple[Any, int]] = {}  # of the first bytes of a part, by digest
        self._changing: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def begin(self, request: UploadRequest) -> tuple[Upload, bool]:
        """Return what is there of a file, and whether its upload is new.

        Raises:
            ConflictError: its upload was begun with another length.
            TooLargeError: it is longer than allowed.
            InsufficientStorageError: the disk cannot take it.
            UnavailableError: there are too many files.
        """
        self.clean()
        found = self._folder.find(request.digest)
        if found is None:
            if request.bytes > self._max_bytes:
                raise TooLargeError(
                    f"The file has {request.bytes} bytes, this service takes {self._max_bytes}: "
                    "send fewer rows, or raise max_dataset_bytes."
                )
            self._make_place()
        elif found.bytes != request.bytes:
            raise ConflictError(
                f"The upload {request.digest} was begun with {found.bytes} bytes, and now has "
                f"{request.bytes}: one of them is wrong; DELETE the upload to begin again.",
                code="upload_length_differs",
            )
        self.make_room(request.bytes - (found.received if found else 0))
        part = self._folder.part(request.digest, request.bytes)
        (found.path if found else part).touch()
        return self.settle(request.digest), found is None

    def find(self, digest: str) -> Upload:
        """Return what is there of a file. Raises NotFoundError."""
        return self._get(digest).shown()

    def append(self, digest: str, offset: int, content: bytes) -> None:
        """Add bytes at the end of a part, which must be at `offset`; `settle` follows the last.

        If two clients send the same file, one of them gets the ConflictError, and can go on from
        where the other is.

        Raises:
            NotFoundError: the upload was not begun, or was removed.
            ConflictError: the part does not end at `offset`.
            InvalidError: more bytes than the upload has.
        """
        with self._alone(digest):
            found = self._get(digest)
            if found.received != offset:
                raise ConflictError(
                    f"Got bytes from offset {offset}; {found.received} of {found.bytes} bytes are "
                    f"here: go on at {found.received}.",
                    code="wrong_offset",
                )
            if offset + len(content) > found.bytes:
                raise InvalidError.field(
                    "",
                    f"The upload was begun with {found.bytes} bytes, and more came: send the file "
                    "that it was begun with.",
                    code="upload_too_long",
                )
            if content:
                with found.path.open("r+b", buffering=0) as file:
                    file.seek(offset)
                    left = memoryview(content)
                    while left:
                        left = left[file.write(left) :]

    def settle(self, digest: str) -> Upload:
        """Hash what has arrived since the last call; complete the file if all bytes are there.

        Raises:
            NotFoundError: the upload was removed.
            InvalidError: all bytes are there and have another digest; they are removed.
        """
        with self._alone(digest):
            found = self._get(digest)
            if found.complete:
                return found.shown()
            actual = self._hash(found)
            if found.received < found.bytes:
                return found.shown()
            if actual != digest:
                self._forget(found.path)
                raise InvalidError.field(
                    "/digest",
                    f"The {found.bytes} bytes have the digest {actual}, not {digest}, and were "
                    "removed: the file changed while it was sent. Send it again.",
                    code="wrong_digest",
                )
            sync(found.path)
            found.path.rename(self._folder.whole(digest))
            sync(self._folder.path)
            self._hashes.pop(digest, None)
            return found.shown()

    def check_complete(self, digest: str, pointer: str = "/file/upload") -> int:
        """Return the file's length if all of it is there. Raises InvalidError at `pointer`."""
        found = self._folder.find(digest)
        if found is None:
            raise InvalidError.field(
                pointer,
                f"There is no upload {digest}, or it was removed after a day: begin it by POST "
                "/v1/uploads.",
                code="upload_not_found",
            )
        if not found.complete:
            raise InvalidError.field(
                pointer,
                f"{found.received} of {found.bytes} bytes of the upload {digest} are here: send "
                "the rest.",
                code="upload_incomplete",
            )
        return found.bytes

    @contextmanager
    def using(self, digest: str, pointer: str = "/file/upload") -> Iterator[Path]:
        """Yield a file's path; the file is kept inside the block. Raises InvalidError."""
        path = self._folder.whole(digest)
        with self._lock:
            self.check_complete(digest, pointer)
            self._users[digest] += 1
        try:
            yield path
        finally:
            with self._lock:
                path.touch()
                self._users[digest] -= 1

    def remove(self, digest: str) -> None:
        """Remove a file, or a part of one.

        Raises:
            NotFoundError: nothing is there.
            ConflictError: an operation reads it.
        """
        with self._alone(digest), self._lock:
            found = self._get(digest)
            if self._users[digest]:
                raise ConflictError(
                    f"An operation reads the upload {digest}: cancel it, or wait for its end.",
                    code="upload_in_use",
                )
            self._forget(found.path)

    def clean(self) -> None:
        """Remove files that nobody has used for KEPT_SECONDS."""
        with self._lock:
            for used_at, path in self._unused():
                if used_at < self._clock() - KEPT_SECONDS:
                    self._forget(path)

    def make_room(self, needed_bytes: int) -> None:
        """Remove complete files, the longest unused first, until the disk takes `needed_bytes`.

        Raises:
            InsufficientStorageError: without them it does not either.
        """
        with self._lock:
            complete = self._complete()
            while complete and self._disk.shortage(needed_bytes):
                self._forget(complete.pop(0))
        self._disk.require(needed_bytes)

    def _make_place(self) -> None:
        """Remove the complete file that is unused for the longest, if there are MAX_FILES.

        Raises:
            UnavailableError: none is complete and unused.
        """
        with self._lock:
            if len(self._folder.files()) < MAX_FILES:
                return
            complete = self._complete()
            if not complete:
                raise UnavailableError(
                    f"The service keeps {MAX_FILES} files that are being uploaded or read, as many "
                    "as it may: DELETE some, or wait until they are a day old.",
                    code="uploads_busy",
                )
            self._forget(complete[0])

    @contextmanager
    def _alone(self, digest: str) -> Iterator[None]:
        """Inside the block, nobody else appends to the file, completes or removes it."""
        with self._lock:
            lock = self._changing.setdefault(digest, threading.Lock())
        with lock:
            yield

    def _hash(self, part: Found) -> str:
        """The digest of a part; reads the bytes that came since the last call, or all."""
        sha, done = self._hashes.get(part.digest) or (hashlib.sha256(), 0)
        with part.path.open("rb") as file:
            file.seek(done)
            while piece := file.read(_HASH_BYTES):
                sha.update(piece)
                done += len(piece)
        self._hashes[part.digest] = sha, done
        return f"sha256:{sha.hexdigest()}"

    def _get(self, digest: str) -> Found:
        found = self._folder.find(digest)
        if found is None:
            raise NotFoundError(
                f"There is no upload {digest}: begin it by POST /v1/uploads.",
                code="upload_not_found",
            )
        return found

    def _complete(self) -> list[Path]:
        """The complete files that nobody uses, the longest unused first."""
        return [path for _, path in sorted(self._unused()) if is_content(path.name)]

    def _unused(self) -> Iterator[tuple[float, Path]]:
        """Files that nobody uses, and when they were used last."""
        for path in self._folder.files():
            with suppress(FileNotFoundError):  # a part that was just completed
                if not self._users[digest_of(path)]:
                    yield path.stat().st_mtime, path

    def _forget(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._hashes.pop(digest_of(path), None)
