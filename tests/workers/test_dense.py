"""Dense networks: their compiled passes against the layers, which define them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgrad.contract import Model
from batchgrad_workers.nn.dense import DenseNetwork
from batchgrad_workers.nn.dense import network as dense_network
from batchgrad_workers.nn.gradients import Differentiator, Microbatch
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.network import Network

Layers = list[dict[str, Any]]
RELU, FLATTEN = {"kind": "relu"}, {"kind": "flatten"}


def linear(outputs: int, *, bias: bool = True) -> dict[str, Any]:
    return {"kind": "linear", "out_features": outputs, "bias": bias}


def network(layers: Layers, *shape: int) -> Network:
    return Network(Model.model_validate({"layers": layers}), shape)


def both(of: Network, loss: str, *, means: bool = True) -> tuple[Differentiator, Differentiator]:
    """By compiled passes, and by layers."""
    made = [
        Differentiator(of, LOSSES[loss], MeansLayout(of) if means else None, True)  # type: ignore[index]
        for _ in range(2)
    ]
    assert made[0]._dense
    made[1].__dict__["_dense"] = None
    return made[0], made[1]


def drawn(
    random: np.random.Generator, dtype: Any
) -> tuple[Network, Microbatch, np.ndarray[Any, Any]]:
    """A dense network of up to four layers, a microbatch with weights, and θ."""
    flat = bool(random.integers(2))
    shape = (2, int(random.integers(1, 4)), 3) if flat else (int(random.integers(1, 9)),)
    layers: Layers = [FLATTEN] if flat else []
    for _ in range(random.integers(0, 3)):
        layers.append(linear(int(random.integers(1, 9)), bias=bool(random.integers(2))))
        layers += [RELU] if random.integers(4) else []
    of = network([*layers, linear(int(random.integers(1, 5)))], *shape)
    n = int(random.integers(1, 40))
    targets = random.random((n, of.outputs)) + 0.1
    targets /= targets.sum(axis=1, keepdims=True)
    weights = np.ones(n) if random.integers(2) else random.random(n).round(1)
    inputs = random.normal(size=(n, *shape))
    batch = Microbatch(inputs.astype(dtype), targets.astype(dtype), weights.astype(dtype))
    return of, batch, random.normal(size=of.size).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=60, derandomize=True)
@given(seed=st.integers(0, 2**32), loss=st.sampled_from(sorted(LOSSES)), means=st.booleans())
def test_the_sums_are_those_of_the_layers(dtype: Any, seed: int, loss: str, means: bool) -> None:
    of, batch, theta = drawn(np.random.default_rng(seed), dtype)
    (found, losses, norms), (right, right_losses, right_norms) = (
        each.sums(of.views(theta), batch) for each in both(of, loss, means=means)
    )
    tolerance = 1e-4 if dtype is np.float32 else 1e-11
    for one, other in (
        (found.gradient, right.gradient),
        (found.means, right.means),
        (found.microbatch_means, right.microbatch_means),
        (found.totals, right.totals),
        (losses, right_losses),
        (norms, right_norms),
    ):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        size = np.abs(other).max(initial=1.0)
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e30, 1e-30])
def test_norms_of_extreme_rows_are_those_of_the_layers(number: float) -> None:
    of = network([linear(6), RELU, linear(3)], 5)
    random = np.random.default_rng(0)
    inputs = random.normal(size=(8, 5))
    inputs[2] = number
    batch = Microbatch(inputs.astype("f4"), np.ones((8, 3), "f4"), np.ones(8, "f4"))
    theta = random.normal(size=of.size).astype("f4")
    with np.errstate(all="ignore"):
        found, right = (each.sums(of.views(theta), batch) for each in both(of, "squared_error"))
    np.testing.assert_allclose(found[1], right[1], rtol=1e-5)
    np.testing.assert_allclose(found[2], right[2], rtol=1e-5)


def test_bits_do_not_depend_on_where_arrays_lie_and_arguments_stay_as_they_are() -> None:
    of = network([linear(33), RELU, linear(20), RELU, linear(3)], 65)
    own, random, seen = both(of, "softmax_cross_entropy")[0], np.random.default_rng(0), set()
    theta = random.normal(size=of.size).astype("f4")
    inputs, targets = (
        random.normal(size=(19, 65)).astype("f4"),
        np.eye(3, dtype="f4")[[0, 1, 2] * 6 + [0]],
    )
    given = targets.copy()
    for shift in range(9):
        memory = np.zeros(inputs.size + theta.size + 16, "f4")
        rows = memory[shift : shift + inputs.size].reshape(inputs.shape)
        parameters = memory[-theta.size - shift :][: theta.size]
        rows[...], parameters[...] = inputs, theta
        rows.flags.writeable = shift % 2 == 0  # as mapped files are
        sums, losses, norms = own.sums(
            of.views(parameters), Microbatch(rows, targets, np.ones(19, "f4"))
        )
        assert (rows == inputs).all()
        assert (targets == given).all()
        assert (parameters == theta).all()
        seen.add(
            sums.gradient.tobytes() + sums.means.tobytes() + losses.tobytes() + norms.tobytes()
        )
    assert len(seen) == 1


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(20, 1030, 1100), (2100, 4, 3)])
def test_wide_layers_and_many_rows_are_summed_with_the_layers_care(
    rows: int, inputs: int, outputs: int
) -> None:
    of, random = network([linear(outputs), RELU, linear(3)], inputs), np.random.default_rng(0)
    drawn = random.normal(size=(rows, inputs)).astype("f4")
    batch = Microbatch(drawn, np.eye(3, dtype="f4")[np.arange(rows) % 3], np.ones(rows, "f4"))
    theta = of.initial_parameters(1, "float32")
    found, right = (each.sums(of.views(theta), batch) for each in both(of, "softmax_cross_entropy"))
    np.testing.assert_allclose(found[0].gradient, right[0].gradient, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[2], right[2], rtol=1e-5)


def test_one_row_has_the_layers_bits() -> None:
    """So that the shortcuts of one example are exactly its gradient."""
    of, random = network([linear(33), RELU, linear(5)], 17), np.random.default_rng(0)
    batch = Microbatch(
        random.normal(size=(1, 17)).astype("f4"), np.eye(5, dtype="f4")[:1], np.ones(1, "f4")
    )
    found, right = (
        each.sums(of.views(of.initial_parameters(1, "float32")), batch)
        for each in both(of, "softmax_cross_entropy")
    )
    assert found[0].gradient.tobytes() == right[0].gradient.tobytes()
    assert found[0].means.tobytes() == right[0].means.tobytes()


@pytest.mark.parametrize(
    "layers",
    [
        [linear(3)],
        [linear(3), linear(2, bias=False)],
        [FLATTEN, linear(3), RELU, linear(2)],
    ],
)
def test_rows_of_linear_layers_with_relu_between_are_dense(layers: Layers) -> None:
    of = network(layers, 4)
    found = DenseNetwork.of(of, MeansLayout(of))
    assert found is not None
    assert len(found.stages) == sum(each["kind"] == "linear" for each in layers)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([linear(3), RELU], (4,)),
        ([RELU, linear(3)], (4,)),
        ([linear(3), RELU, RELU, linear(3)], (4,)),
        ([linear(3), {"kind": "tanh"}, linear(3)], (4,)),
        ([linear(3)], (5, 4)),
        ([linear(3), FLATTEN, linear(3)], (5, 4)),
        ([FLATTEN], (4,)),
        ([linear(4), {"kind": "residual", "layers": [linear(4)]}, linear(2)], (4,)),
        ([{"kind": "dropout", "p": 0.5}, linear(2)], (4,)),
        (
            [{"kind": "embedding", "num_embeddings": 5, "embedding_dim": 2}, FLATTEN, linear(2)],
            (3,),
        ),
    ],
)
def test_other_networks_go_by_layers(layers: Layers, shape: tuple[int, ...]) -> None:
    assert DenseNetwork.of(network(layers, *shape), None) is None


def test_with_another_blas_networks_go_by_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_network, "AVAILABLE", False)
    assert DenseNetwork.of(network([linear(3)], 4), None) is None
