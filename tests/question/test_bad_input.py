"""What can't be answered is refused: the problem names the place, the value and the remedy."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from batchgrad.contract import GradientsRequest
from batchgrad_service.problems import InvalidError
from tests.question.sample_requests import ask


def line(**fields: Any) -> dict[str, Any]:
    return {
        "model": {"layers": [{"kind": "linear", "out_features": 1}]},
        "loss": "squared_error",
        "inputs": [[1.0], [2.0], [3.0]],
        "targets": [1.0, 2.0, 3.0],
        **fields,
    }


def classes(**fields: Any) -> dict[str, Any]:
    return {
        "model": {"layers": [{"kind": "linear", "out_features": 3}]},
        "loss": "softmax_cross_entropy",
        "inputs": [[1.0], [2.0]],
        "targets": [0, 2],
        **fields,
    }


REFUSED: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "ragged": (line(inputs=[[1.0], [2.0, 3.0], [4.0]]), "/inputs/1", ["list of 2", "list of 1"]),
    "a number for a row": (line(inputs=[[1.0], 2.0, [3.0]]), "/inputs/1", ["2.0", "list of 1"]),
    "a row for a number": (line(targets=[1.0, [2.0], 3.0]), "/targets/1", ["[2.0]", "a number"]),
    "empty rows": (line(inputs=[[], [], []]), "/inputs", ["empty list"]),
    "bool": (line(inputs=[[1.0], [True], [3.0]]), "/inputs/1/0", ["true", "expected a number"]),
    "string": (line(inputs=[[1.0], [2.0], ["x"]]), "/inputs/2/0", ["'x'", "expected a number"]),
    "long text": (line(targets=[1.0, "x" * 10**6, 3.0]), "/targets/1", ["xxx...xxx", "number"]),
    "null": (line(targets=[1.0, None, 3.0]), "/targets/1", ["null", "expected a number"]),
    "NaN": (line(inputs=[[1.0], [math.nan], [3.0]]), "/inputs/1/0", ["nan", "finite", "remove"]),
    "infinity": (line(targets=[1.0, 2.0, -math.inf]), "/targets/2", ["-inf", "finite", "remove"]),
    "huge integer": (
        line(inputs=[[1.0], [10**400], [3.0]]),
        "/inputs/1/0",
        ["too large", "64 bits"],
    ),
    "huge target": (line(targets=[1, 2, 2**70]), "/targets/2", ["too large", "64 bits"]),
    "huge class": (classes(targets=[0, 10**400]), "/targets/1", ["too large", "64 bits"]),
    "flat inputs": (line(inputs=[1.0, 2.0, 3.0]), "/inputs", ["[3]", "one row per example"]),
    "too few targets": (line(targets=[1.0, 2.0]), "/targets", ["2 rows", "3", "one target"]),
    "too many values": (
        line(targets=[[1.0, 2.0]] * 3),
        "/targets",
        ["2 value(s)", "1 output(s)", "out_features: 2"],
    ),
    "class out of range": (
        classes(targets=[0, 3]),
        "/targets",
        ["class 3", "3 output(s)", "0 to 2", "out_features: 4"],
    ),
    "negative class": (classes(targets=[0, -1]), "/targets/1", ["-1", "0, 1, 2"]),
    "classes as floats": (classes(targets=[0.0, 1.0]), "/targets", ["float64", "integer class"]),
    "classes as rows": (
        classes(targets=[[0], [1]]),
        "/targets",
        ["[2, 1]", "(n,): targets.ravel() if"],
    ),
    "classes as one-hot rows": (
        classes(targets=[[0.0, 1.0], [1.0, 0.0]]),
        "/targets",
        ["[2, 2]", "targets.argmax(1) if the rows are one-hot"],
    ),
    "classes for a loss of numbers": (
        classes(loss="squared_error"),
        "/targets",
        ["these are classes", "softmax_cross_entropy", "numpy.eye(3, dtype='float32')[targets]"],
    ),
    "no probability": (
        line(loss="sigmoid_cross_entropy", targets=[0.0, 1.5, 1.0]),
        "/targets",
        ["targets[1]", "1.5", "0 to 1"],
    ),
    "an output at every position": (
        line(inputs=[[[1.0], [2.0]]] * 3),
        "/targets",
        ["1 value(s)", "2 output(s)"],
    ),
    "too few weights": (line(weights=[1, 1]), "/weights", ["[2]", "[3]", "one per example"]),
    "negative weight": (line(weights=[1, 1, -0.5]), "/weights/2", ["-0.5", "at least 0"]),
    "all weights zero": (line(weights=[0, 0, 0]), "/weights", ["All weights are 0", "positive"]),
    "NaN weight": (line(weights=[1, math.nan, 1]), "/weights/1", ["nan", "finite"]),
    "unknown parameter": (
        line(parameters={"0.weight": [[1.0]], "1.bias": [0.0]}),
        "/parameters",
        ["1.bias", "0.bias"],
    ),
    "parameter of another shape": (
        line(parameters={"0.weight": [[1.0, 2.0]], "0.bias": [0.0]}),
        "/parameters/0.weight",
        ["[1, 2]", "[1, 1]"],
    ),
    "parameter that is no number": (
        line(parameters={"0.weight": [[math.nan]], "0.bias": [0.0]}),
        "/parameters/0.weight/0/0",
        ["nan", "finite"],
    ),
    "overflow": (
        line(inputs=[[1.0], [1e200], [3.0]]),
        "/inputs/1",
        ["examples [1]", "scale", "float64"],
    ),
    "overflow in float32 alone": (
        line(inputs=[[1.0], [2.0], [1e30]], precision="float32"),
        "/inputs/2",
        ["examples [2]", "scale", "float64"],
    ),
    "too large": (
        line(
            model={"layers": [{"kind": "linear", "out_features": out} for out in (2**20, 2**20, 1)]}
        ),
        "/model",
        ["2097152", "smaller model", "submit a job"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_request_is_refused_by_name(name: str) -> None:
    request, pointer, words = REFUSED[name]

    with pytest.raises(InvalidError) as caught:
        ask(**request)

    [error] = caught.value.errors
    assert error.pointer == pointer
    for word in words:
        assert word in error.detail


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"loss": "mean_error"}, ("loss",)),
        ({"model": {"layers": [{"kind": "batch_norm1d"}]}}, ("model", "layers", 0)),
        ({"model": {"layers": []}}, ("model", "layers")),
        ({"inputs": []}, ("inputs",)),
        ({"microbatch_size": 0}, ("microbatch_size",)),
        ({"wieghts": [1]}, ("wieghts",)),
    ],
)
def test_what_the_wire_already_refuses(fields: dict[str, Any], place: tuple[Any, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        GradientsRequest.model_validate(line(**fields))

    assert caught.value.errors()[0]["loc"][: len(place)] == place


def test_integers_and_one_column_targets_are_welcome() -> None:
    plain = ask(**line())
    columns = ask(**line(inputs=[[1], [2], [3]], targets=[[1], [2], [3]]))

    assert plain == columns
