from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from batchgrad.contract import Model
from batchgrad_service.engine import checkpoints, exports
from batchgrad_service.engine.checkpoints import Snapshot
from batchgrad_service.engine.folding import CannotFold, fold
from batchgrad_workers.standardization import Standardization

LINEAR = {"kind": "linear", "out_features": 3}


def model(*layers: dict[str, Any]) -> Model:
    return Model.model_validate({"layers": list(layers)})


def standardization(*shape: int) -> Standardization:
    random = np.random.default_rng(3)
    return Standardization(random.normal(2, 3, shape), random.uniform(0.5, 4, shape))


def parameters(inputs: int, layer: int = 0, dtype: Any = np.float64) -> dict[str, Any]:
    random = np.random.default_rng(4)
    return {
        f"{layer}.weight": random.normal(size=(3, inputs)).astype(dtype),
        f"{layer}.bias": random.normal(size=3).astype(dtype),
        f"{layer + 2}.weight": random.normal(size=(2, 3)).astype(dtype),
    }


def outputs(given: dict[str, Any], layer: int, inputs: Any) -> Any:
    """Linear, tanh, linear without bias; inputs (n, …), flattened."""
    first = inputs.reshape(len(inputs), -1) @ given[f"{layer}.weight"].T + given[f"{layer}.bias"]
    return np.tanh(first) @ given[f"{layer + 2}.weight"].T


@pytest.mark.parametrize(
    ("before", "shape"), [([], (5,)), ([{"kind": "identity"}, {"kind": "flatten"}], (2, 3))]
)
def test_outputs_on_raw_inputs_are_those_on_standardized_ones(
    before: list[dict[str, Any]], shape: tuple[int, ...]
) -> None:
    known = standardization(*shape)
    given = parameters(known.mean.size, len(before))
    layers = [*before, LINEAR, {"kind": "tanh"}, {**LINEAR, "out_features": 2, "bias": False}]
    layer, folded = fold(model(*layers), given, known)
    assert layer == str(len(before))
    raw = np.random.default_rng(5).normal(2, 3, (7, *shape))
    expected = outputs(given, len(before), (raw - known.mean) / known.deviation)
    np.testing.assert_allclose(outputs(folded, len(before), raw), expected, rtol=1e-12)


def test_each_folded_number_is_rounded_only_once(tmp_path: Path) -> None:
    known, given = standardization(5), parameters(5, dtype=np.float32)
    whole = model(LINEAR, {"kind": "tanh"}, {**LINEAR, "out_features": 2, "bias": False})
    snapshot = Snapshot(7, given, {}, known, "sha256:" + "0" * 64, {})
    path = checkpoints.write(tmp_path, snapshot).path
    found = load(exports.parameters_as_safetensors(path, whole))
    assert {name: array.dtype.name for name, array in found.items()} == dict.fromkeys(
        given, "float32"
    )
    weight = given["0.weight"].astype(np.float64)
    bias = given["0.bias"] - weight @ (known.mean / known.deviation)
    np.testing.assert_array_equal(found["0.bias"], bias.astype(np.float32))
    np.testing.assert_array_equal(found["0.weight"], (weight / known.deviation).astype(np.float32))
    np.testing.assert_array_equal(found["2.weight"], given["2.weight"])


@pytest.mark.parametrize(
    ("layers", "shape", "said"),
    [
        ([{**LINEAR, "bias": False}], (5,), "only a bias can take up the mean"),
        ([{"kind": "relu"}, LINEAR], (5,), "Layer 0 is relu"),
        ([{"kind": "conv2d", "out_channels": 1, "kernel_size": 1}], (1, 2, 2), "is conv2d"),
        ([LINEAR], (4, 5), "last of 2 axes"),
        ([{"kind": "flatten"}], (5,), "No layer"),
    ],
)
def test_layers_that_cannot_take_it_up_are_named_with_the_remedy(
    layers: list[dict[str, Any]], shape: tuple[int, ...], said: str
) -> None:
    with pytest.raises(CannotFold, match=said) as caught:
        fold(model(*layers), parameters(5), standardization(*shape))
    assert "(x - mean) / deviation" in str(caught.value)
