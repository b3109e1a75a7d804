"""Default microbatch sizes follow from N and the model alone."""

from typing import Any

import pytest
from pydantic import ValidationError

from batchgrad.contract import JobSpec

LINEAR: dict[str, Any] = {"kind": "linear", "out_features": 1}
DENSE: list[dict[str, Any]] = [LINEAR, {"kind": "relu"}, {"kind": "residual", "layers": [LINEAR]}]
CONV: dict[str, Any] = {"kind": "conv2d", "out_channels": 2, "kernel_size": 3}


def spec(layers: list[dict[str, Any]], batch_size: int | str, **changes: Any) -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": "sized",
            "dataset": "digits",
            "model": {"layers": layers},
            "loss": "squared_error",
            "optimizer": {"kind": "sgd", "learning_rate": 0.1},
            "batch_size": batch_size,
            "steps": 1,
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("batch_size", "expected"),
    [
        *[(1, 1), (127, 127), (129, 128), (2048, 128), (2064, 129), (4096, 256)],
        *[(8192, 512), (8207, 512), (10**6, 512), ("full", 128)],
    ],
)
def test_dense_layers_have_larger_microbatches_once_there_are_sixteen(
    batch_size: int | str, expected: int
) -> None:
    assert spec(DENSE, batch_size).microbatch == expected


@pytest.mark.parametrize(
    "layers", [[CONV], [{"kind": "residual", "layers": [CONV]}], [{"kind": "sequence_mean"}]]
)
def test_layers_with_positions_keep_128(layers: list[dict[str, Any]]) -> None:
    assert spec([*layers, LINEAR], 60_000).microbatch == 128


def test_auto_is_the_default_and_a_number_is_kept() -> None:
    assert spec(DENSE, 4096, microbatch_size="auto") == spec(DENSE, 4096)
    assert spec(DENSE, 4096, microbatch_size=64).microbatch == 64
    [auto, *_] = JobSpec.model_json_schema()["properties"]["microbatch_size"]["anyOf"]
    assert auto["const"] == "auto"
    for wrong in (0, "large", 2**20 + 1, True):
        with pytest.raises(ValidationError):
            spec(DENSE, 4096, microbatch_size=wrong)
