"""Datasets are stored, replaced and deleted; a start removes incomplete ones."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_service.datasets.datasets import Datasets
from batchgrad_service.problems import (
    ConflictError,
    NotFoundError,
)
from tests.service.uploads import CLASSES, INPUTS, Put, left_over, npy, npz, zipped


def expected_digest(**arrays: Any) -> str:
    """The documented digest. It must not change: stored digests outlive a version."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        described = f"{name}\0{array.dtype.name}\0{list(array.shape)}\0"
        digest.update(described.encode() + array.tobytes())
    return f"sha256:{digest.hexdigest()}"


def test_a_dataset_is_stored_as_it_came(put: Put, datasets: Datasets) -> None:
    weights = np.array([0, 1, 2, 0.5])
    dataset, outcome = put(npz(inputs=INPUTS, targets=CLASSES, weights=weights))
    assert outcome == "created"
    assert (dataset.examples, dataset.input_shape, dataset.input_dtype) == (4, [3], "float32")
    assert (dataset.target_kind, dataset.classes, dataset.weighted) == ("classes", 3, True)
    assert dataset.bytes == INPUTS.nbytes + CLASSES.nbytes + weights.nbytes
    directory = datasets.directory(dataset.digest)
    assert sorted(file.name for file in directory.iterdir()) == [
        "inputs.npy",
        "targets.npy",
        "weights.npy",
    ]
    np.testing.assert_array_equal(np.load(directory / "inputs.npy"), INPUTS)
    np.testing.assert_array_equal(np.load(directory / "weights.npy"), weights)


def test_the_digest_is_that_of_the_content_not_of_the_archive(put: Put) -> None:
    plain, _ = put(npz(inputs=INPUTS, targets=CLASSES))
    big_endian = INPUTS.astype(">f4")
    columns = np.asfortranarray(INPUTS)
    for same in (
        npz(targets=CLASSES, inputs=INPUTS),
        npz(inputs=big_endian, targets=CLASSES.astype(">i8")),
        npz(inputs=columns, targets=CLASSES),
        zipped({"inputs.npy": npy(INPUTS), "targets.npy": npy(CLASSES)}, zipfile.ZIP_DEFLATED),
    ):
        assert put(same) == (plain, "same")
    assert plain.digest == expected_digest(inputs=INPUTS, targets=CLASSES)
    other_shape, _ = put(npz(inputs=INPUTS.reshape(4, 1, 3), targets=CLASSES), "e")
    assert other_shape.digest != plain.digest


def test_fortran_order_is_turned_around_in_chunks(put: Put, datasets: Datasets) -> None:
    inputs = np.asfortranarray(np.arange(300_000, dtype=">f8").reshape(3000, 50, 2))
    dataset, _ = put(npz(inputs=inputs, targets=np.zeros(3000)))
    stored = np.load(datasets.directory(dataset.digest) / "inputs.npy")
    np.testing.assert_array_equal(stored, inputs)
    assert stored.dtype.str == "<f8"
    assert stored.flags.c_contiguous


def test_equal_contents_are_kept_once(put: Put, tmp_path: Path) -> None:
    content = npz(inputs=INPUTS, targets=CLASSES)
    first, _ = put(content, "a")
    second, outcome = put(content, "b")
    assert outcome == "created"
    assert first.digest == second.digest
    assert len(left_over(tmp_path)) == 1


def test_another_content_needs_replace_and_the_old_one_goes(
    put: Put, datasets: Datasets, tmp_path: Path
) -> None:
    first, _ = put(npz(inputs=INPUTS, targets=CLASSES))
    with pytest.raises(ConflictError, match="replace=true"):
        put(npz(inputs=INPUTS + 1, targets=CLASSES))
    assert left_over(tmp_path) == [datasets.directory(first.digest).name]
    second, outcome = put(npz(inputs=INPUTS + 1, targets=CLASSES), replace=True)
    assert outcome == "replaced"
    assert left_over(tmp_path) == [datasets.directory(second.digest).name]
    datasets.delete("d")
    assert left_over(tmp_path) == []
    with pytest.raises(NotFoundError):
        datasets.delete("d")


def test_a_start_removes_what_is_unfinished_and_nothing_else(
    put: Put, datasets: Datasets, tmp_path: Path
) -> None:
    kept, _ = put(npz(inputs=INPUTS, targets=CLASSES))
    theirs = ["imagenet", "notes.tmp", "0" * 64, "f" * 15 + ".tmp"]
    for name in theirs:
        (tmp_path / "datasets" / name).mkdir()
        (tmp_path / "uploads" / name).write_bytes(b"mine")
    (tmp_path / "datasets" / ("e" * 16 + ".tmp")).mkdir()
    (tmp_path / "uploads" / ("e" * 16 + ".tmp")).write_bytes(b"half")
    datasets.clean()
    expected = [datasets.directory(kept.digest).name, *theirs, *theirs]
    assert sorted(left_over(tmp_path)) == sorted(expected)
