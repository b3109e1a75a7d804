"""Contents in the blob store while datasets are added and removed, and while the store fails."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from batchgrad_service.datasets.blob_store import BlobStore
from batchgrad_service.datasets.datasets import Datasets
from batchgrad_service.problems import UnavailableError
from batchgrad_service.store import Store
from tests.service.building import npz

PATIENCE_SECONDS = 60


class Blobs(BlobStore):
    """A blob store that calls `after_publish` and `before_remove` at these points."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"file://{folder}")
        self.after_publish: Callable[[], object] = lambda: None
        self.before_remove: Callable[[], object] = lambda: None

    def publish(self, digest: str, directory: Path) -> None:
        super().publish(digest, directory)
        self.after_publish()

    def remove(self, digest: str) -> None:
        self.before_remove()
        super().remove(digest)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shared"


@pytest.fixture
def blobs(folder: Path) -> Blobs:
    return Blobs(folder)


@pytest.fixture
def datasets(tmp_path: Path, store: Store, blobs: Blobs) -> Datasets:
    return Datasets(tmp_path, store, max_bytes=10_000, blobs=blobs)


def put(datasets: Datasets, name: str, shift: int = 0) -> str:
    """The digest of the content with this name."""
    with datasets.upload() as path:
        path.write_bytes(npz(inputs=np.ones((2, 2)) + shift, targets=np.arange(2)))
        dataset, _ = datasets.put(name, path, replace=True)
        return dataset.digest


def kept(folder: Path) -> set[str]:
    """Digests of the complete contents in the store."""
    return {f"sha256:{file.parent.name}" for file in folder.glob("*/inputs.npy")}


def test_content_stays_if_it_gets_a_name_while_its_last_name_is_deleted(
    datasets: Datasets, blobs: Blobs, folder: Path
) -> None:
    """The last name of a content is deleted between publishing and naming it anew."""
    digest = put(datasets, "a")
    deleting = threading.Thread(target=datasets.delete, args=("a",))

    def delete_meanwhile() -> None:
        blobs.after_publish = lambda: None
        deleting.start()
        deleting.join(0.2)  # it removes the content now, or waits until the name is given

    blobs.after_publish = delete_meanwhile
    assert put(datasets, "b") == digest
    deleting.join(PATIENCE_SECONDS)
    assert kept(folder) == {digest}


def test_content_that_is_put_again_during_its_removal_is_stored(
    datasets: Datasets, blobs: Blobs, folder: Path
) -> None:
    digest = put(datasets, "a")
    putting = threading.Thread(target=put, args=(datasets, "b"))

    def put_meanwhile() -> None:
        putting.start()
        putting.join(0.2)

    blobs.before_remove = put_meanwhile
    datasets.delete("a")
    putting.join(PATIENCE_SECONDS)
    assert kept(folder) == {digest}


def test_the_next_start_removes_what_a_crash_left_in_the_store(
    tmp_path: Path, store: Store, datasets: Datasets, blobs: Blobs, folder: Path
) -> None:
    used = put(datasets, "a")
    stranger = folder / ("0" * 64)  # of another service, which shares the prefix against advice
    stranger.mkdir()

    def crash() -> None:
        raise KeyboardInterrupt

    blobs.after_publish = crash
    with pytest.raises(KeyboardInterrupt):
        put(datasets, "b", shift=1)
    assert len(kept(folder)) == 2
    restarted = Datasets(tmp_path, store, max_bytes=10_000, blobs=blobs)
    restarted.clean_blobs()
    assert kept(folder) == {used}
    assert stranger.exists()


def test_a_dataset_is_deleted_although_the_store_fails(
    tmp_path: Path,
    store: Store,
    datasets: Datasets,
    blobs: Blobs,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse() -> None:
        raise UnavailableError("no right to delete")

    put(datasets, "d")
    blobs.before_remove = refuse
    datasets.delete("d")
    assert store.datasets().data == []
    assert "stays in the blob store: no right to delete" in caplog.text
    blobs.before_remove = lambda: None
    Datasets(tmp_path, store, max_bytes=10_000, blobs=blobs).clean_blobs()
    assert list(folder.iterdir()) == []


def test_a_slow_store_does_not_block_readers_of_names(datasets: Datasets, blobs: Blobs) -> None:
    """POST /v1/jobs reads a name inside `using` while it makes its plan."""
    put(datasets, "other")
    removing, end = threading.Event(), threading.Event()

    def hang() -> None:
        removing.set()
        assert end.wait(PATIENCE_SECONDS)

    put(datasets, "d", shift=1)
    blobs.before_remove = hang
    slow = threading.Thread(target=datasets.delete, args=("d",))
    read = threading.Event()

    def submit() -> None:
        with datasets.using("other"):
            read.set()

    submitting = threading.Thread(target=submit)
    slow.start()
    try:
        assert removing.wait(PATIENCE_SECONDS)
        submitting.start()
        assert read.wait(PATIENCE_SECONDS / 4)
    finally:
        end.set()
        slow.join()
        submitting.join()
