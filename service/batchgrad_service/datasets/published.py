"""Which contents are in the blob store, as long as they are used and no longer.

A mark on the disk is made before a content goes there and removed after it has gone, so no content
of another service is ever touched. While a content is put or removed, its mark says PENDING: what a
crash leaves is known, and a content that was once named is never removed for want of its name.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from batchgrad_service.datasets.blob_store import BlobStore
from batchgrad_service.problems import UnavailableError
from batchgrad_workers.system.durability import sync
from batchgrad_workers.system.files import hex_of, is_content

log = logging.getLogger(__name__)

PENDING = "pending\n"


class Published:
    """`marks` is a directory of its own; `in_use` says whether a name or a job needs a content."""

    def __init__(self, blobs: BlobStore, marks: Path, in_use: Callable[[str], bool]) -> None:
        self._blobs = blobs
        self._marks = marks
        self._in_use = in_use
        self._guard = threading.Lock()
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        marks.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def holding(self, digest: str, directory: Path) -> Iterator[None]:
        """The content is there, and stays inside the block, in which it is given a name.

        Raises:
            UnavailableError: the store does not take it.
        """
        with self._alone(digest):
            self._mark(digest).write_text(PENDING)
            sync(self._marks)
            self._blobs.publish(digest, directory)
            yield
            self._mark(digest).write_text("")

    def drop(self, digest: str) -> None:
        """Remove a content that nobody uses. What the store keeps all the same goes at a start."""
        with self._alone(digest):
            if self._in_use(digest):
                return
            self._mark(digest).write_text(PENDING)
            try:
                self._blobs.remove(digest)
            except UnavailableError as error:
                log.warning("%s stays in the blob store: %s", digest, error)
            else:
                self._mark(digest).unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove what a crash or an unavailable store has left there."""
        for mark in self._marks.iterdir():
            if is_content(mark.name) and mark.read_text() == PENDING:
                self.drop(f"sha256:{mark.name}")

    def _mark(self, digest: str) -> Path:
        return self._marks / hex_of(digest)

    def _alone(self, digest: str) -> threading.Lock:
        """Held while a content is published and named, or found unused and removed."""
        with self._guard:
            return self._locks.setdefault(digest, threading.Lock())
