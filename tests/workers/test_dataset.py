"""Rows of a stored dataset as a network's inputs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Model
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.examples import NetworkExamples
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.network import Network
from tests.workers.jobs import store


def examples(directory: Path, **changes: Any) -> NetworkExamples:
    stored = StoredDataset.open(directory)
    fields: dict[str, Any] = {
        "network": network(stored, {"kind": "linear", "out_features": 3}),
        "loss": LOSSES["softmax_cross_entropy"],
        "dtype": "float32",
        "transform": None,
        "class_weights": None,
        **changes,
    }
    return NetworkExamples(stored, **fields)


def network(stored: StoredDataset, *layers: dict[str, Any]) -> Network:
    return Network(Model.model_validate({"layers": layers}), stored.inputs.shape[1:])


def test_arrays_are_mapped_not_loaded(tmp_path: Path) -> None:
    dataset = StoredDataset.open(store(tmp_path))

    assert isinstance(dataset.inputs.base, np.memmap)
    assert isinstance(dataset.targets.base, np.memmap)
    assert dataset.weights is None


def test_pickles_are_refused(tmp_path: Path) -> None:
    store(tmp_path)
    np.save(tmp_path / "targets.npy", np.array([{}], object), allow_pickle=True)

    with pytest.raises(ValueError, match="objects"):
        StoredDataset.open(tmp_path)


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int64"])
def test_rows_have_theta_s_dtype_and_classes_are_one_hot(tmp_path: Path, dtype: str) -> None:
    inputs = np.arange(15).reshape(3, 5).astype(dtype)
    store(tmp_path, inputs=inputs, targets=np.array([2, 0, 1]), weights=np.array([1, 0, 4]))

    batch = examples(tmp_path).rows(np.array([2, 0]))

    assert {part.dtype for part in (batch.inputs, batch.targets, batch.weights)} == {
        np.dtype("float32")
    }
    assert batch.inputs.tolist() == inputs[[2, 0]].tolist()
    assert batch.targets.tolist() == [[0, 1, 0], [0, 0, 1]]
    assert (batch.weights * 4).tolist() == [4, 1]  # the largest is put into [1, 2)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_value_per_example_is_one_column(tmp_path: Path, shape: tuple[int, ...]) -> None:
    store(tmp_path, targets=np.array([5, 6, 7]).reshape(shape))

    batch = examples(tmp_path, loss=LOSSES["squared_error"]).rows(np.array([1, 2]))

    assert batch.targets.tolist() == [[6], [7]]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "uint64"])
def test_ids_stay_what_they_are(tmp_path: Path, dtype: str) -> None:
    """float32 has no whole numbers beyond 2**24: ids must not pass through it."""
    ids = np.array([[0, 200], [7, 7]]).astype(dtype)
    directory = store(tmp_path, inputs=ids, targets=np.array([0, 1]))
    embedding = {"kind": "embedding", "num_embeddings": 201, "embedding_dim": 2}

    own = network(StoredDataset.open(directory), embedding)
    batch = examples(directory, network=own).rows(np.array([1, 0]))

    assert batch.inputs.dtype == np.dtype(dtype)
    assert batch.inputs.tolist() == [[7, 7], [0, 200]]
    assert batch.inputs.flags.c_contiguous
    assert batch.weights.dtype == np.dtype("float32")
