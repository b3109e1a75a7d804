"""Datasets: contents on the disk and their names in the store. Equal contents are stored once."""

import dataclasses
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path

from batchgrad.contract import Dataset
from batchgrad_service.datasets.blob_store import BlobStore
from batchgrad_service.datasets.npz import unpack
from batchgrad_service.datasets.published import Published
from batchgrad_service.datasets.validation import Content, inspect, listed
from batchgrad_service.problems import ConflictError, NotFoundError
from batchgrad_service.store import PutOutcome, Store, utc_now
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.system.durability import sync
from batchgrad_workers.system.files import hex_of, new_name, remove, remove_temporaries


class Datasets:
    """Store, find and remove datasets below `data_dir`."""

    def __init__(
        self,
        data_dir: Path,
        store: Store,
        *,
        max_bytes: int,
        blobs: BlobStore | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.max_bytes = max_bytes
        self._contents = data_dir / "datasets"
        self._uploads = data_dir / "uploads"
        self._store = store
        self._clock = clock
        self._users: Counter[str] = Counter()  # how many callers are inside `using`, by content
        self._dropped_later: set[str] = set()
        self._lock = (
            threading.RLock()
        )  # guards those, and names and directories change together; no network
        self._published = (
            None if blobs is None else Published(blobs, data_dir / "published", self._in_use)
        )
        for directory in (self._contents, self._uploads):
            directory.mkdir(parents=True, exist_ok=True)

    def clean(self) -> None:
        """At the service's start, remove what an interrupted upload or removal has left.

        A complete content stays, even if the database does not know it (`batchgrad gc`). The
        arrays of contents that an older version has stored are listed.
        """
        with self._lock:
            remove_temporaries(self._uploads)
            remove_temporaries(self._contents)
        for digest in self._store.contents_without_arrays():
            directory = self.directory(digest)
            if directory.is_dir():
                self._store.list_arrays(digest, listed(StoredDataset.open(directory)))

    def clean_blobs(self) -> None:
        """Remove what was left in the blob store, which may take long."""
        if self._published is not None:
            self._published.clean()

    @contextmanager
    def upload(self) -> Iterator[Path]:
        """Yield a path for an upload's bytes; the file is removed when the block ends."""
        path = self._uploads / new_name()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def put(self, name: str, archive: Path, *, replace: bool) -> tuple[Dataset, PutOutcome]:
        """Store the npz `archive` under `name`.

        Raises:
            InvalidError, TooLargeError: the content cannot be trained on; nothing is stored.
            ConflictError, UnavailableError: see `keep`.
        """
        with self.new_directory() as temporary:
            unpack(archive, temporary, max_bytes=self.max_bytes)
            return self.keep(name, temporary, inspect(temporary), replace=replace)

    @contextmanager
    def new_directory(self) -> Iterator[Path]:
        """Yield an empty directory for arrays, which is removed unless they were kept."""
        temporary = self._contents / new_name()
        temporary.mkdir()
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def described(self, name: str, content: Content) -> Dataset:
        """Return the dataset that a content with this name is."""
        fields = {each.name: getattr(content, each.name) for each in dataclasses.fields(content)}
        return Dataset(name=name, created_at=self._clock(), **fields)

    def keep(
        self, name: str, temporary: Path, content: Content, *, replace: bool
    ) -> tuple[Dataset, PutOutcome]:
        """Store the arrays in a `new_directory` under `name`.

        Raises:
            ConflictError: the name has another content, and `replace` is False; nothing is stored.
            UnavailableError: there is a blob store, and it does not take the content.
        """
        for file in temporary.iterdir():
            sync(file)
        sync(temporary)
        dataset = self.described(name, content)
        published = (
            self._published.holding(dataset.digest, temporary)
            if self._published is not None
            else nullcontext()
        )
        with published, self._lock:  # published first: what jobs find is complete
            before = self._find(dataset.name)
            outcome = self._name(dataset, temporary, replace=replace)
            named = self._store.dataset(dataset.name)
        if before is not None and outcome in {"replaced", "conflict"}:
            self.drop_unused(before.digest)
            self.drop_unused(dataset.digest)
        if outcome == "conflict":
            raise ConflictError(
                f"Dataset {dataset.name!r} already has another content: "
                "send it with replace=true, or choose another name.",
                code="dataset_exists",
            )
        return named, outcome

    def _name(self, dataset: Dataset, temporary: Path, *, replace: bool) -> PutOutcome:
        final = self.directory(dataset.digest)
        if not final.exists():
            temporary.rename(final)
            sync(self._contents)
        return self._store.put_dataset(dataset, replace=replace)

    def _find(self, name: str) -> Dataset | None:
        try:
            return self._store.dataset(name)
        except NotFoundError:
            return None

    def directory(self, digest: str) -> Path:
        """Return the directory of the content with this digest."""
        return self._contents / hex_of(digest)

    @contextmanager
    def using(self, name: str) -> Iterator[tuple[Dataset, Path]]:
        """Yield a dataset and its directory, kept inside the block. Raises NotFoundError."""
        with ExitStack() as held:
            with self._lock:
                dataset = self._store.dataset(name)
                directory = held.enter_context(self.holding(dataset.digest))
            yield dataset, directory

    @contextmanager
    def holding(self, digest: str) -> Iterator[Path]:
        """Yield the directory of a content, which may be gone, or else is kept inside the block."""
        with self._lock:
            self._users[digest] += 1
        try:
            yield self.directory(digest)
        finally:
            with self._lock:
                self._users[digest] -= 1
                dropped = digest in self._dropped_later and not self._users[digest]
                self._dropped_later -= {digest} if dropped else set()
            if dropped:
                self.drop_unused(digest)

    def delete(self, name: str) -> None:
        """Remove the name, and the content if no other name and no job needs it.

        Raises:
            NotFoundError: nothing has the name.
            ConflictError: a job that has not ended trains on it.
        """
        with self._lock:
            dataset = self._store.dataset(name)
            self._store.delete_dataset(name)
        self.drop_unused(dataset.digest)

    def drop_unused(self, digest: str) -> None:
        """Remove a content, from the blob store too, if no name and no job needs it."""
        with self._lock:
            dropped = self._drop_content(digest)
        if dropped and self._published is not None:
            self._published.drop(digest)

    def _drop_content(self, digest: str) -> bool:
        directory = self.directory(digest)
        if self._users[digest]:
            self._dropped_later.add(digest)
        if not directory.exists() or self._in_use(digest):
            return False
        doomed = self._contents / new_name()
        directory.rename(doomed)  # one step, so that no reader finds a part of the content
        remove(doomed)
        return True

    def _in_use(self, digest: str) -> bool:
        return self._users[digest] > 0 or self._store.dataset_digest_in_use(digest)
