"""Distributions of initial parameters, for every kind of layer, as torch.nn draws them."""

from collections.abc import Callable
from math import erf, prod, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgrad.contract import Model
from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.nn.network import Network
from tests.workers.stacks import STACKS

Distribution = Callable[[float], float]
"""P(parameter ≤ x)."""

LINEAR = {"kind": "linear", "out_features": 400}
CONV: dict[str, Any] = {"kind": "conv2d", "out_channels": 480, "kernel_size": [3, 2], "groups": 2}
CONV1D = {"kind": "conv1d", "out_channels": 480, "kernel_size": 6, "groups": 2}
EMBEDDING = {"kind": "embedding", "num_embeddings": 90, "embedding_dim": 12}
DRAWN: list[tuple[Shape, dict[str, Any]]] = [
    ((25,), LINEAR),
    ((9, 25), LINEAR),
    ((25,), {**LINEAR, "bias": False}),
    ((8, 5, 5), CONV),
    ((8, 5, 5), {**CONV, "bias": False}),
    ((8, 9), CONV1D),
    ((7,), EMBEDDING),
    ((7,), {**EMBEDDING, "padding_idx": 3}),
]


NORMS = {"layer_norm", "group_norm"}


def kaiming(weight: Shape) -> tuple[float, float]:
    """Bounds of weight (out, in, …) and bias: kaiming_uniform_(a = √5), and 1/√fan_in."""
    fan_in = prod(weight[1:])
    gain = sqrt(2 / (1 + 5))
    return sqrt(3) * gain / sqrt(fan_in), 1 / sqrt(fan_in)


def uniform(bound: float) -> Distribution:
    return lambda x: min(max((x / bound + 1) / 2, 0.0), 1.0)


def normal(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2


def distance(drawn: Array, distribution: Distribution) -> float:
    """√n times Kolmogorov's distance; 99.9% of samples stay below 1.95."""
    values = sorted(drawn.ravel().tolist())
    expected = np.array([distribution(value) for value in values])
    steps = np.arange(len(values) + 1) / len(values)
    apart = max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max())
    return float(apart) * sqrt(len(values))


def initial(shape: Shape, layer: dict[str, Any], seed: int = 0) -> dict[str, Array]:
    """Initial parameters of a second layer of this kind, if it can be one, by local name."""
    layers = [layer] if layer["kind"] == "embedding" else [{"kind": "identity"}, layer]
    of = Network(Model.model_validate({"layers": layers}), shape)
    return dict(of.views(of.initial_parameters(seed, "float64"))[-1])


@pytest.mark.parametrize(("shape", "layer"), DRAWN, ids=str)
def test_weights_and_biases_follow_torch_s_distributions(
    shape: Shape, layer: dict[str, Any]
) -> None:
    own = initial(shape, layer)
    weight = own["weight"]
    if layer["kind"] == "embedding":
        padding = layer.get("padding_idx")
        kept = weight if padding is None else np.delete(weight, padding, axis=0)
        assert distance(kept, normal) < 1.95
        assert padding is None or not weight[padding].any()
        return
    bounds = dict(zip(("weight", "bias"), kaiming(weight.shape), strict=True))
    assert ("bias" in own) == layer.get("bias", True)
    for name, array in own.items():
        assert np.abs(array).max() <= bounds[name]
        assert distance(array, uniform(bounds[name])) < 1.95
    for a, b in [(weight[0], weight[1]), (weight[:, 0], weight[:, 1])]:
        assert not np.array_equal(a, b)
    assert weight.tobytes() != initial(shape, layer, seed=1)["weight"].tobytes()


@pytest.mark.parametrize(
    ("shape", "layer"),
    [((4, 6), {"kind": "layer_norm"}), ((6, 4), {"kind": "group_norm", "num_groups": 3})],
    ids=str,
)
def test_norms_start_as_the_identity(shape: Shape, layer: dict[str, Any]) -> None:
    own = initial(shape, layer)
    assert {name: array.tolist() for name, array in own.items()} == {
        "weight": [1.0] * 6,
        "bias": [0.0] * 6,
    }


def test_every_kind_with_parameters_is_here() -> None:
    with_parameters = set()
    for shape, layers in STACKS.values():
        of = Network(Model.model_validate({"layers": layers}), shape)
        with_parameters |= {of.kinds[k] for k in of.learning}
    assert with_parameters == {layer["kind"] for _, layer in DRAWN} | NORMS


@settings(max_examples=30, derandomize=True)
@given(st.integers(0, 2**63 - 1), st.integers(1, 40), st.integers(1, 40))
def test_one_seed_gives_one_start_within_the_bounds(seed: int, inputs: int, outputs: int) -> None:
    layer = {"kind": "linear", "out_features": outputs}
    of = Network(Model.model_validate({"layers": [layer]}), (inputs,))

    theta = of.initial_parameters(seed, "float64")

    assert np.abs(theta).max() <= 1 / np.sqrt(inputs)
    assert theta.tobytes() == of.initial_parameters(seed, "float64").tobytes()
    single = of.initial_parameters(seed, "float32")
    assert single.tobytes() == theta.astype(np.float32).tobytes()
