"""Datasets of arrays of any names, as workers see them."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Validation
from batchgrad_workers.data.dataset import LacksArray, StoredDataset, stored_arrays, stored_names
from batchgrad_workers.data.example_weights import Weights
from batchgrad_workers.data.source import DatasetSource, open_dataset
from batchgrad_workers.data.split import CannotSplit, split
from batchgrad_workers.digests import digest, heading
from tests.workers.file_server import serving
from tests.workers.sources import source_of, stored

TEXT: dict[str, Any] = {
    "labels": np.array([[1, -100], [2, 3], [0, 0]]),
    "input_ids": np.array([[5, 0], [7, 8], [9, 9]], np.int32),
    "attention_mask": np.array([[True, False], [True, True], [True, True]]),
    "units": np.array([4, 4, 5]),
    "weights": np.array([1.0, 0.0, 0.5]),
}


def test_a_model_sees_all_arrays_but_those_about_examples(tmp_path: Path) -> None:
    dataset = StoredDataset.open(stored(tmp_path / "text", TEXT))

    assert list(dataset.arrays) == ["attention_mask", "input_ids", "labels"]
    for name, array in dataset.arrays.items():
        np.testing.assert_array_equal(array, TEXT[name])
        assert array.dtype == TEXT[name].dtype
    assert dataset.weights is not None
    assert dataset.weights.tolist() == [1.0, 0.0, 0.5]
    assert dataset.units is not None
    assert len(dataset) == 3


def test_inputs_and_targets_come_first_and_are_arrays_too(tmp_path: Path) -> None:
    arrays = {"age": np.ones(3), "targets": np.arange(3), "inputs": np.zeros((3, 2))}

    dataset = StoredDataset.open(stored(tmp_path / "more", arrays))

    assert list(dataset.arrays) == ["inputs", "targets", "age"]
    assert dataset.inputs is dataset.arrays["inputs"]
    assert dataset.targets is dataset.arrays["targets"]


def test_an_array_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    dataset = StoredDataset.open(stored(tmp_path / "text", TEXT))

    with pytest.raises(LacksArray, match="attention_mask, input_ids, labels, but no inputs"):
        _ = dataset.inputs
    with pytest.raises(LacksArray, match="no targets"):
        _ = dataset.targets


def test_a_folder_without_arrays_of_examples_is_no_content(tmp_path: Path) -> None:
    directory = stored(tmp_path / "empty", {"weights": np.ones(3)})

    with pytest.raises(FileNotFoundError, match="No array of examples"):
        StoredDataset.open(directory)


def test_the_digest_s_order_is_that_of_old_contents_then_by_name(tmp_path: Path) -> None:
    """The digest of a content with inputs and targets is what it was before other names."""
    plain = {
        "ids": np.array([b"a", b"b"]),
        "weights": np.ones(2),
        "targets": np.arange(2),
        "inputs": np.zeros((2, 1)),
    }
    order = ["inputs", "targets", "weights", "ids"]
    sha = hashlib.sha256()
    for name in order:
        sha.update(heading(name, plain[name].dtype, plain[name].shape) + plain[name].tobytes())
    directory = stored(tmp_path / "plain", plain)

    assert digest(stored_arrays(directory)) == f"sha256:{sha.hexdigest()}"
    np.save(directory / "zeta.npy", np.ones(2))
    np.save(directory / "alpha.npy", np.ones(2))
    assert stored_names(directory) == [*order, "alpha", "zeta"]


def test_another_node_fetches_every_array(tmp_path: Path) -> None:
    with serving(stored(tmp_path / "service", TEXT)) as server:
        arrays = {name: TEXT[name] for name in stored_names(server.directory)}
        dataset = open_dataset(source_of(server.directory, server.url, arrays=arrays), {})

    assert {name: array.tolist() for name, array in dataset.arrays.items()} == {
        name: TEXT[name].tolist() for name in ("attention_mask", "input_ids", "labels")
    }


def test_a_shared_folder_that_lacks_an_array_is_not_used(tmp_path: Path) -> None:
    directory = stored(tmp_path / "text", TEXT)
    files = dict.fromkeys(stored_names(directory), 1)
    (directory / "labels.npy").unlink()

    with pytest.raises(FileNotFoundError, match=r"labels\.npy"):
        open_dataset(DatasetSource(directory, files=files), {})


def test_rows_of_weight_0_are_known_without_targets(tmp_path: Path) -> None:
    dataset = StoredDataset.open(stored(tmp_path / "text", TEXT))

    weights = Weights(dataset.weights, None, None)

    assert weights.present is not None
    assert weights.present.tolist() == [0, 2]
    assert weights.exact(np.arange(3)).tolist() == [1.0, 0.0, 0.5]
    assert Weights(None, None, None).present is None


def test_rows_are_held_out_without_targets_but_not_by_class(tmp_path: Path) -> None:
    dataset = StoredDataset.open(stored(tmp_path / "text", TEXT))

    held_out = split(Validation(fraction=0.5, by_unit=True), dataset, seed=0)

    assert sorted([*held_out.training, *held_out.validation]) == [0, 1, 2]
    assert len(held_out.validation) in {1, 2}  # one of two units
    with pytest.raises(CannotSplit, match="has no targets: stratify needs classes"):
        split(Validation(fraction=0.5, stratify=True), dataset, seed=0)


def test_only_one_class_an_example_can_be_stratified() -> None:
    dataset = StoredDataset({"inputs": np.zeros((4, 1)), "targets": np.zeros((4, 2), np.int64)})

    with pytest.raises(CannotSplit, match=r"targets of shape \[4, 2\]"):
        split(Validation(fraction=0.5, stratify=True), dataset, seed=0)
