"""Publish dataset contents to the blob store, and remove those that are no longer used.

A mark on the disk is made before a content is published and removed after it was removed, so the
service never touches contents of another service. While a content is published or removed, its mark
says PENDING. So after a crash the unfinished ones are known, and a content that was named is not
removed only because the database does not know its name.
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
    """Contents in the blob store. `marks` is a directory; `in_use` tells if a content is needed."""

    def __init__(self, blobs: BlobStore, marks: Path, in_use: Callable[[str], bool]) -> None:
        self._blobs = blobs
        self._marks = marks
        self._in_use = in_use
        self._guard = threading.Lock()
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        marks.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def holding(self, digest: str, directory: Path) -> Iterator[None]:
        """Publish a content and keep it inside the block, in which it gets a name.

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
        """Remove a content that is not in use; if the store fails, the next start removes it."""
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
        """Remove what a crash or an unavailable store has left in the blob store."""
        for mark in self._marks.iterdir():
            if is_content(mark.name) and mark.read_text() == PENDING:
                self.drop(f"sha256:{mark.name}")

    def _mark(self, digest: str) -> Path:
        return self._marks / hex_of(digest)

    def _alone(self, digest: str) -> threading.Lock:
        """Return the content's lock, held while it is published and named, or removed."""
        with self._guard:
            return self._locks.setdefault(digest, threading.Lock())
