"""Standardization folded into the first layer, and downloads of the folded parameters."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from batchgrad.contract import Model
from batchgrad_engine.checkpoints import checkpoints, exports
from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_engine.checkpoints.folding import CannotFold, fold
from batchgrad_workers.data.standardization import Standardization

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
    weight = (given["0.weight"].astype(np.float64) / known.deviation).astype(np.float32)
    bias = given["0.bias"] - weight.astype(np.float64) @ known.mean
    np.testing.assert_array_equal(found["0.weight"], weight)
    np.testing.assert_array_equal(found["0.bias"], bias.astype(np.float32))
    np.testing.assert_array_equal(found["2.weight"], given["2.weight"])


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([{**LINEAR, "bias": False}], (5,), "only a bias can absorb the mean"),
        ([{"kind": "relu"}, LINEAR], (5,), "Layer 0 is relu"),
        ([{"kind": "conv2d", "out_channels": 1, "kernel_size": 1}], (1, 2, 2), "is conv2d"),
        ([LINEAR], (4, 5), "last of 2 axes"),
        ([{"kind": "flatten"}], (5,), "No layer"),
    ],
)
def test_layers_that_cannot_absorb_it_are_named_with_the_remedy(
    layers: list[dict[str, Any]], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(CannotFold, match=message) as caught:
        fold(model(*layers), parameters(5), standardization(*shape))
    assert "(x - mean) / deviation" in str(caught.value)


RAW = {
    "1e9 and 1e9 + 2": np.array([[1e9], [1e9 + 2]]),
    "nanoseconds, a second apart": np.array([[1767225600 * 10**9], [1767225601 * 10**9]]),
    "2^24 and 2^24 + 2": np.array([[2**24], [2**24 + 2]], np.float32),
    "seconds of one day": np.array([[1.7672256e9 + 3600 * hour] for hour in range(24)]),
    "one of many": np.random.default_rng(6).normal(size=(50, 4)) * [1, 2, 1e-3, 9] + [0, 1, 77, 5],
    "years": np.array([[1950.0 + 5 * k, k % 3] for k in range(16)]),
    "pixels, some constant": np.tile(np.arange(16.0) % 9, (9, 1)) * (np.arange(9) % 2)[:, None] + 3,
}


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", RAW)
def test_what_is_folded_is_the_trained_network_or_refused(name: str, precision: Any) -> None:
    """Both ways on all inputs, the folded one computed in its own precision."""
    raw = RAW[name]
    known = Standardization.of(raw, np.arange(len(raw)))
    given = parameters(raw.shape[1], dtype=np.float32)
    whole = model(LINEAR, {"kind": "tanh"}, {**LINEAR, "out_features": 2, "bias": False})
    far = float((np.abs(known.mean) / known.deviation).max())
    if precision == "float32" and far > 1.5e4:
        with pytest.raises(CannotFold, match=r"off by .*deviations from 0.*precision=float64"):
            fold(whole, given, known, precision)
        return
    _, folded = fold(whole, given, known, precision)
    assert {array.dtype.name for array in folded.values()} == {precision}
    expected = outputs(given, 0, known.apply(raw, "float64"))
    found = outputs(folded, 0, raw.astype(precision))
    tolerance = 3e-3 if precision == "float32" else 1e-5
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


def test_what_float64_cannot_hold_either_offers_no_more_precision() -> None:
    known = Standardization(np.array([1e18]), np.array([1.0]))
    with pytest.raises(CannotFold, match=r"1e[+]18 deviations from 0: download without") as caught:
        fold(model(LINEAR), parameters(1), known)
    assert "precision" not in str(caught.value)


@pytest.mark.parametrize("folded", [False, True])
def test_a_precision_that_does_not_hold_a_parameter_is_refused(
    tmp_path: Path, folded: bool
) -> None:
    given = parameters(5)
    given["2.weight"][0, 0] = 1e39
    last = {**LINEAR, "out_features": 2, "bias": False}
    whole = model(LINEAR, {"kind": "tanh"}, last) if folded else None
    snapshot = Snapshot(7, given, {}, standardization(5), "sha256:" + "0" * 64, {})
    path = checkpoints.write(tmp_path, snapshot).path
    with pytest.raises(exports.PrecisionTooSmall, match=r"2\.weight .* 3\.4e\+38.*float64"):
        exports.parameters_as_safetensors(path, whole, precision="float32")
    found = load(exports.parameters_as_safetensors(path, whole))
    assert found["2.weight"][0, 0] == 1e39
