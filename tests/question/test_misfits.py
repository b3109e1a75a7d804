"""Layers that can't take what arrives: the problem numbers the layer and says what would do."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Dataset, JobSpec
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.job_data import JobData
from batchgrad_service.validation.plan import plan
from tests.question.sample_requests import ask

TANH = {"kind": "tanh"}
CONV: dict[str, Any] = {"kind": "conv2d", "out_channels": 4, "kernel_size": 2}
SIGNAL: dict[str, Any] = {"kind": "conv1d", "out_channels": 4, "kernel_size": 2}
POOL: dict[str, Any] = {"kind": "max_pool2d", "kernel_size": 2}
IDS: dict[str, Any] = {"kind": "embedding", "num_embeddings": 4, "embedding_dim": 2}
IMAGE = (2, 3, 3)

MISFITS: dict[str, tuple[tuple[int, ...], list[dict[str, Any]], str, list[str]]] = {
    "conv2d on vectors": ((5,), [CONV], "/model/layers/0", ["[5]", "(n, channels, height, width)"]),
    "max_pool2d on vectors": ((5,), [TANH, POOL], "/model/layers/1", ["max_pool2d takes", "[5]"]),
    "avg_pool2d on matrices": (
        (5, 5),
        [{**POOL, "kind": "avg_pool2d"}],
        "/model/layers/0",
        ["avg_pool2d takes images", "[5, 5]"],
    ),
    "conv2d after flatten": (IMAGE, [{"kind": "flatten"}, CONV], "/model/layers/1", ["[18]"]),
    "kernel larger than the image": (
        IMAGE,
        [{**CONV, "kernel_size": [4, 1]}],
        "/model/layers/0",
        ["conv2d with kernel [4, 1]", "does not fit", "[3, 3]", "padding [0, 0]"],
    ),
    "dilation larger than the image": (
        IMAGE,
        [TANH, {**CONV, "dilation": 3}],
        "/model/layers/1",
        ["dilation [3, 3]", "does not fit", "[3, 3]"],
    ),
    "pool larger than the image": (
        IMAGE,
        [POOL, {**POOL, "kind": "avg_pool2d"}],
        "/model/layers/1",
        ["avg_pool2d with kernel [2, 2]", "[1, 1]"],
    ),
    "pool of padding alone": (
        IMAGE,
        [{**POOL, "padding": [1, 2]}],
        "/model/layers/0",
        ["padding [1, 2]", "half of its kernel [2, 2]"],
    ),
    "padding that would take all memory": (
        IMAGE,
        [{**CONV, "padding": 60_000, "stride": 60_000}],
        "/model/layers/0",
        ["[60000, 60000]", "[2, 120003, 120003]", "at most 16777216", "less padding"],
    ),
    "padding of a pool that would": (
        IMAGE,
        [{**POOL, "kernel_size": 60_000, "padding": 30_000}],
        "/model/layers/0",
        ["max_pool2d", "[2, 60003, 60003]", "less padding"],
    ),
    "groups of input channels": (
        (3, 3, 3),
        [{**CONV, "groups": 2}],
        "/model/layers/0",
        ["groups: 2", "3 input channels"],
    ),
    "groups of output channels": (
        IMAGE,
        [{**CONV, "groups": 2, "out_channels": 3}],
        "/model/layers/0",
        ["groups: 2", "3 out channels"],
    ),
    "conv1d on vectors": (
        (5,),
        [SIGNAL],
        "/model/layers/0",
        ["conv1d takes sequences (channels, length)", "[5]", "inputs[:, None]"],
    ),
    "conv1d on images": (IMAGE, [SIGNAL], "/model/layers/0", ["(channels, length)", "[2, 3, 3]"]),
    "kernel larger than the sequence": (
        (2, 3),
        [{**SIGNAL, "kernel_size": 4}],
        "/model/layers/0",
        ["conv1d with kernel [4] and dilation [1]", "sequences [3] with padding [0]"],
    ),
    "padding of a sequence that would": (
        (2000, 3),
        [{**SIGNAL, "padding": 60_000}],
        "/model/layers/0",
        ["conv1d with padding [60000]", "sequences", "less padding"],
    ),
    "groups of a sequence": (
        (3, 3),
        [{**SIGNAL, "groups": 2}],
        "/model/layers/0",
        ["conv1d has groups: 2", "3 input channels"],
    ),
    "groups of a norm": (
        (3, 3),
        [{"kind": "group_norm", "num_groups": 2}],
        "/model/layers/0",
        ["num_groups: 2", "3 channels"],
    ),
    "global_avg_pool on vectors": (
        (5,),
        [{"kind": "global_avg_pool"}],
        "/model/layers/0",
        ["global_avg_pool takes (channels, height, width) or (channels, length)", "[5]"],
    ),
    "sequence_mean after flatten": (
        (5, 3),
        [{"kind": "flatten"}, {"kind": "sequence_mean"}],
        "/model/layers/1",
        ["sequence_mean takes (positions, width)", "[15]", "remove it"],
    ),
    "a block that changes the shape": (
        (5,),
        [TANH, {"kind": "residual", "layers": [TANH, {"kind": "linear", "out_features": 4}]}],
        "/model/layers/1",
        ["residual adds its input, of shape [5]", "of shape [4]", "give [5]"],
    ),
    "a layer inside of a block": (
        (5,),
        [TANH, {"kind": "residual", "layers": [TANH, CONV]}],
        "/model/layers/1/layers/1",
        ["conv2d takes images", "[5]"],
    ),
    "embedding above another layer": (
        (5,),
        [TANH, IDS],
        "/model/layers/1",
        ["integer ids", "make it the first layer"],
    ),
}


def refusal(**fields: Any) -> tuple[str, str]:
    with pytest.raises(InvalidError) as caught:
        ask(loss="squared_error", targets=[1.0, 2.0], **fields)
    [error] = caught.value.errors
    return error.pointer, error.detail


@pytest.mark.parametrize("name", MISFITS)
def test_a_layer_that_does_not_fit_is_refused_by_number(name: str) -> None:
    shape, layers, pointer, words = MISFITS[name]

    found, detail = refusal(model={"layers": layers}, inputs=np.zeros((2, *shape)).tolist())

    assert found == pointer
    for word in words:
        assert word in detail


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([[0, 3], [1, 4]], ["inputs[1, 1] is 4", "0 to 3", "num_embeddings"]),
        ([[0, 3], [-1, 2]], ["inputs[1, 0] is -1", "0 to 3"]),
        ([[0.0, 1.0], [2.0, 3.0]], ["float64", "integer ids, 0 to 3"]),
        ([[0, 1], [2, 2.5]], ["float64", "integer ids, 0 to 3"]),
    ],
)
def test_what_is_no_id_is_refused_by_place(inputs: Any, words: list[str]) -> None:
    pointer, detail = refusal(model={"layers": [IDS]}, inputs=inputs)

    assert pointer == "/inputs"
    for word in words:
        assert word in detail


def planned(directory: Path, inputs: Any, **changes: Any) -> InvalidError:
    """The refusal of a job on these inputs."""
    values = changes.get("loss") == "sigmoid_cross_entropy"
    np.save(directory / "inputs.npy", inputs)
    np.save(
        directory / "targets.npy", inputs.astype(float) if values else np.zeros(len(inputs), int)
    )
    spec = {
        "name": "texts",
        "dataset": "texts",
        "model": {"layers": [IDS, {"kind": "flatten"}, {"kind": "linear", "out_features": 2}]},
        "loss": "softmax_cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": 0.1},
        "batch_size": 2,
        "steps": 1,
        **changes,
    }
    dataset = Dataset(
        name="texts",
        digest="sha256:0",
        examples=len(inputs),
        input_shape=list(inputs.shape[1:]),
        input_dtype=inputs.dtype.name,
        target_kind="values" if values else "classes",
        classes=None if values else 1,
        weighted=False,
        bytes=0,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    with pytest.raises(InvalidError) as caught:
        plan(JobSpec.model_validate(spec), JobData(dataset, directory))
    return caught.value


@pytest.mark.parametrize(
    ("inputs", "changes", "pointer", "word"),
    [
        (np.array([[0, 1], [2, 3]]), {"standardize": True}, "/standardize", "standardize: false"),
        (np.array([[0, 1], [2, 9]]), {}, "/dataset", "inputs[1, 1] is 9"),
        (np.array([[0.0, 1.0]]), {}, "/dataset", "store them as integers"),
        (np.array([[0, 1]]), {"model": {"layers": [TANH, CONV]}}, "/model/layers/1", "images"),
    ],
)
def test_a_job_on_what_does_not_fit_is_refused(
    tmp_path: Path, inputs: Any, changes: dict[str, Any], pointer: str, word: str
) -> None:
    [error] = planned(tmp_path, inputs, **changes).errors

    assert error.pointer == pointer
    assert word in error.detail


def test_examples_far_into_a_dataset_are_named_by_their_row(tmp_path: Path) -> None:
    inputs = np.zeros((70_000, 1), np.uint8)
    inputs[69_000] = 4
    layers = [{"kind": "linear", "out_features": 1}]

    [of_ids] = planned(tmp_path, inputs).errors
    [of_targets] = planned(
        tmp_path, inputs, loss="sigmoid_cross_entropy", model={"layers": layers}
    ).errors

    assert "inputs[69000, 0] is 4" in of_ids.detail
    assert "targets[69000] is [4.0]" in of_targets.detail


def test_an_embedding_whose_means_are_too_many_is_refused() -> None:
    layers = [
        {"kind": "embedding", "num_embeddings": 2**23, "embedding_dim": 1},
        {"kind": "flatten"},
        {"kind": "linear", "out_features": 1},
    ]
    with pytest.raises(InvalidError, match="one for each position and id"):
        ask(model={"layers": layers}, loss="squared_error", inputs=[[0] * 1000], targets=[0.0])
