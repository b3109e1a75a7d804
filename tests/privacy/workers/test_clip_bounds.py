"""No unit adds more than C to a private sum, in the arithmetic that is used, whatever cancels."""

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgrad.contract import Model
from batchgrad_workers.nn.gradients import Microbatch
from batchgrad_workers.nn.network import Network
from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows
from tests.workers.clipping import CLIPPINGS, by_definition, formed, private_rows, sums, units_of
from tests.workers.stacks import STACKS, microbatch, network
from tests.workers.test_norms import LAYERS

OVER = 1 + 2.0**-8
TARGETS = [1.0, 1e3, 1e6, 1e9]


def net(name: str) -> Network:
    shape, layer = LAYERS[name]
    return Network(Model.model_validate({"layers": [layer]}), shape)


def cancelling(of: Network, examples: int, size: float, dtype: str, apart: float = 0.0) -> Any:
    """Rows with equal inputs at all positions, up to `apart`, and errors that alternate."""
    random = np.random.default_rng(examples)
    shape = of.input_shape
    places = (shape[0], *([1] * (len(shape) - 1)))
    alike = random.normal(size=(examples, *places) if len(shape) != 2 else (examples, 1, shape[1]))
    if len(shape) == 2 and len(of.output_shape) == 2 and of.kinds[0] == "conv1d":
        alike = random.normal(size=(examples, shape[0], 1))
    inputs: Any = (alike + apart * random.normal(size=(examples, *shape))).astype(dtype)
    if of.takes_ids:
        inputs = np.zeros((examples, *shape), np.int64)
    outputs = of.output_shape
    by_channel = of.kinds[0] in ("conv2d", "conv1d", "group_norm")
    places = outputs[1:] if by_channel else outputs[:-1]
    signs = (-1.0) ** np.arange(prod(places)).reshape(places)
    scale = random.uniform(0.5, 1, (examples, outputs[0] if by_channel else outputs[-1]))
    errors = (
        scale.reshape(examples, -1, *([1] * len(places))) * signs
        if by_channel
        else scale.reshape(examples, *([1] * len(places)), -1) * signs[..., None]
    )
    targets = (errors * size / -2).reshape(examples, -1).astype(dtype)
    return Microbatch(inputs, targets, np.ones(examples, dtype))


def lengths_alone(of: Network, batch: Microbatch, rows: PrivateRows, rule: ClippingRule) -> Any:
    """What each row adds alone."""
    theta = np.zeros(of.size, batch.weights.dtype)
    return np.array(
        [
            np.linalg.norm(
                sums(
                    of, theta, batch.part(one), PrivateRows(rows.weights[one]), rule
                ).gradient.astype(np.float64)
            )
            for one in (slice(n, n + 1) for n in range(len(batch.inputs)))
        ]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", TARGETS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_row_whose_positions_cancel_adds_c_at_most(name: str, size: float, dtype: str) -> None:
    of = net(name)
    for apart in (0.0, 1e-3, 1e-6):
        batch = cancelling(of, 7, size, dtype, apart)
        rows = private_rows(7, seed=1)
        assert (lengths_alone(of, batch, rows, ClippingRule("flat", 1.0)) <= OVER).all()


@pytest.mark.parametrize("counts", [None, (3,), (1, 2)])
@pytest.mark.parametrize("size", [*TARGETS, 1e25])  # squares of the last leave float32
@pytest.mark.parametrize("name", LAYERS)
def test_among_others_it_moves_the_sum_by_c_at_most(name: str, size: float, counts: Any) -> None:
    """The unit, or each of them, is taken out again by weights of 0."""
    of = net(name)
    loud = cancelling(of, 3, size, "float32")
    quiet = cancelling(of, 6, 0.1, "float32", 1.0)
    batch = Microbatch(
        np.concatenate([loud.inputs, quiet.inputs]),
        np.concatenate([loud.targets, quiet.targets]),
        np.ones(9, np.float32),
    )
    starts = None if counts is None else np.cumsum([0, *counts[:-1], counts[-1], *[1] * 5])
    theta, rule = np.zeros(of.size, np.float32), ClippingRule("flat", 1.0)
    units = len(counts) if counts else 3
    weights = np.ones(9)
    weights[:3] = 0

    with np.errstate(all="ignore"):  # losses
        whole = sums(of, theta, batch, PrivateRows(np.ones(9), starts), rule).gradient
        without = sums(of, theta, batch, PrivateRows(weights, starts), rule).gradient

    moved = np.linalg.norm(whole.astype("f8") - without)
    assert moved <= units * OVER


@pytest.mark.parametrize("size", TARGETS)
@pytest.mark.parametrize("name", LAYERS)
def test_rows_of_a_unit_that_cancel_add_c_at_most(name: str, size: float) -> None:
    """Each row and its opposite, whose weight differs by rounding."""
    of = net(name)
    one = cancelling(of, 2, size, "float32", 1.0)
    batch = Microbatch(
        np.concatenate([one.inputs, one.inputs]),
        np.concatenate([one.targets, -one.targets]),
        np.ones(4, np.float32),
    )
    weights = np.array([1, 0.7, 1 + 1e-9, 0.7])
    rows, rule = PrivateRows(weights, np.array([0])), ClippingRule("flat", 1e-3)
    theta = np.zeros(of.size, np.float32)
    found = sums(of, theta, batch, rows, rule).gradient.astype("f8")
    assert np.linalg.norm(found) <= 1e-3 * OVER


def subnormal(of: Network, batch: Microbatch) -> bool:
    """Whether the numbers of the first g_n have few digits."""
    each = formed(of, np.zeros(of.size, np.float32), batch.part(slice(1)))
    return bool(np.abs(each).max() < np.finfo(np.float32).tiny)


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("weight", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("clip_norm", [1e-30, 1e-6, 1.0, 1e6])
@pytest.mark.parametrize("size", [1e-30, 1e-20, 1.0, 1e15, 1e30])
def test_numbers_of_any_size(size: float, clip_norm: float, weight: float, clipping: Any) -> None:
    """Squares overflow or vanish, factors are subnormal numbers."""
    rule = ClippingRule(clipping, clip_norm)
    for name in ("a sequence by Gram matrices", "a sequence formed", "vectors", "conv2d formed"):
        of = net(name)
        batch = cancelling(of, 4, size, "float32", 0.3)
        for inputs in (1e-10, 1.0, 1e7):
            one = batch._replace(inputs=batch.inputs * np.float32(inputs))
            theta, rows = np.zeros(of.size, np.float32), PrivateRows(np.full(4, weight))
            with np.errstate(all="ignore"):  # losses
                found = lengths_alone(of, one, rows, rule)
                right = by_definition(
                    of, theta, one.part(slice(1)), PrivateRows(rows.weights[:1]), rule
                )
            assert (found <= clip_norm * OVER).all()
            near = 0.98 * np.linalg.norm(right) - 1e-37
            assert found[0] >= near or subnormal(of, one)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(LAYERS)), st.integers(0, 2**32), st.floats(-8, 8), st.booleans())
def test_a_bound_is_no_less_than_the_norm(name: str, seed: int, decades: float, unit: bool) -> None:
    """Rows of any mixture of positions: some equal, some opposite, of sizes apart."""
    of, random = net(name), np.random.default_rng(seed)
    sizes = 10.0 ** random.uniform(0, decades, 6) if decades > 0 else np.full(6, 10.0**decades)
    batch = cancelling(of, 6, 1.0, "float32", 10.0 ** random.uniform(-8, 0))
    noise = 1 + 10.0 ** random.uniform(-8, 0) * random.normal(size=batch.targets.shape)
    targets = (batch.targets * noise * sizes[:, None]).astype(np.float32)
    batch = batch._replace(targets=targets)
    starts = np.array([0, 1, 4]) if unit else None
    rows = PrivateRows(random.uniform(0.1, 10, 6), starts)
    theta = np.zeros(of.size, np.float32)
    counts = rows.counts()
    wide = batch._replace(targets=targets.astype("f8"))
    wide = wide if of.takes_ids else wide._replace(inputs=batch.inputs.astype("f8"))
    exact = np.linalg.norm(units_of(of, theta.astype("f8"), wide, rows), axis=1)
    first = 0
    for norm, count in zip(exact, counts, strict=True):
        own = slice(first, first + count)
        one = PrivateRows(rows.weights[own], np.zeros(1, int) if unit else None)
        half = ClippingRule("flat", float(norm) / 2 or 1.0)
        found = sums(of, theta, batch.part(own), one, half).gradient.astype("f8")
        assert np.linalg.norm(found) <= half.clip_norm * OVER
        first += count


@pytest.mark.parametrize("units", [None, (1, 3, 2, 2)])
@pytest.mark.parametrize("name", LAYERS)
def test_on_ordinary_rows_it_is_no_more_than_1_percent_above(name: str, units: Any) -> None:
    of = net(name)
    random = np.random.default_rng(0)
    inputs: Any = random.normal(size=(8, *of.input_shape)).astype("f4")
    if of.takes_ids:
        inputs = random.integers(0, 3, inputs.shape)
    batch = Microbatch(inputs, random.normal(size=(8, of.outputs)).astype("f4"), np.ones(8, "f4"))
    theta, rows = np.zeros(of.size, "f4"), private_rows(8, units)
    exact = units_of(of, theta, batch, rows)
    rule = ClippingRule("flat", float(np.linalg.norm(exact, axis=1).min()) / 2)

    found = sums(of, theta, batch, rows, rule).gradient

    right = by_definition(of, theta, batch, rows, rule)
    assert found == pytest.approx(right, rel=0.01, abs=1e-4 * np.abs(right).max())


@pytest.mark.parametrize("lost", [[1], [0, 4], list(range(6))])
@pytest.mark.parametrize("units", [None, (1, 2, 3)])
@pytest.mark.parametrize("name", STACKS)
def test_rows_that_are_not_finite_add_exactly_0(name: str, units: Any, lost: list[int]) -> None:
    of = network(name)
    theta, batch = microbatch(of, 6, "float32")
    targets = batch.targets.copy()
    targets[lost] = np.inf
    broken, rows = batch._replace(targets=targets), private_rows(6, units)
    owner = np.repeat(np.arange(len(rows.counts())), rows.counts())
    bad = np.isin(owner, owner[lost])
    rule = ClippingRule("flat", 1.0)

    with np.errstate(all="ignore"):
        found = sums(of, theta, broken, rows, rule)
    weights = np.where(bad, 0.0, rows.weights)
    without = sums(of, theta, batch, PrivateRows(weights, rows.starts), rule)

    assert found.gradient.tobytes() == without.gradient.tobytes()
    assert np.isfinite(found.gradient).all()
    assert found.gradient.any() != bad.all()


def test_parameters_that_are_not_finite_give_0() -> None:
    of = network("residual on images")
    theta, batch = microbatch(of, 4, "float32")
    theta[3] = np.nan
    with np.errstate(all="ignore"):
        found = sums(of, theta, batch, private_rows(4), ClippingRule("per_layer", 1.0))
    assert found.gradient.tolist() == [0.0] * of.size


@pytest.mark.parametrize("clipping", ["flat", "automatic"])
@pytest.mark.parametrize("clip_norm", [1e-30, 1.0])
@pytest.mark.parametrize("size", [1e140, 1e155, 1e170, 1e180])
def test_factors_may_be_subnormal_in_float64(size: float, clip_norm: float, clipping: Any) -> None:
    for name in ("a sequence by Gram matrices", "a sequence formed", "vectors", "conv2d formed"):
        of = net(name)
        batch = cancelling(of, 3, size, "float64", 0.3)
        batch = batch._replace(inputs=batch.inputs * 1e125)
        with np.errstate(all="ignore"):
            rule = ClippingRule(clipping, clip_norm)
            found = lengths_alone(of, batch, PrivateRows(np.ones(3)), rule) / clip_norm
        assert found == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("name", ["a sequence by Gram matrices", "vectors", "conv2d formed"])
def test_a_gradient_that_overflows_adds_0(name: str) -> None:
    """Its norm is a float64, its factors and their product with c are finite."""
    of = net(name)
    batch = cancelling(of, 3, 1e20, "float32", 1.0)
    batch = batch._replace(inputs=batch.inputs * np.float32(1e20))
    with np.errstate(all="ignore"):
        found = lengths_alone(of, batch, PrivateRows(np.ones(3)), ClippingRule("flat", 1.0))
    assert found.tolist() == [0, 0, 0]


def test_a_norm_that_leaves_float64_adds_0() -> None:
    """Each number of the gradient is finite."""
    of = net("vectors")
    batch = cancelling(of, 1, 1e306, "float64", 1.0)
    with np.errstate(all="ignore"):
        units = units_of(of, np.zeros(of.size), batch, PrivateRows(np.ones(1)))
        batch = batch._replace(targets=batch.targets * (1.5e308 / np.abs(units).max()))
        found = lengths_alone(of, batch, PrivateRows(np.ones(1)), ClippingRule("flat", 1.0))
        assert np.isfinite(units_of(of, np.zeros(of.size), batch, PrivateRows(np.ones(1)))).all()
    assert found.tolist() == [0]


def test_products_of_factors_and_errors_may_be_subnormal() -> None:
    """Inputs near the end of float32 multiply what such products lose."""
    layer = {"kind": "linear", "out_features": 1024, "bias": False}
    of = Network(Model.model_validate({"layers": [layer]}), (256, 1024))
    targets = np.full((1, of.outputs), 2.0**-19, np.float32)
    for part in np.linspace(1, 2, 12, endpoint=False):
        inputs = np.full((1, 256, 1024), part * 2.0**126, np.float32)
        batch = Microbatch(inputs, targets, np.ones(1, np.float32))
        rule = ClippingRule("flat", 1.0)
        assert (lengths_alone(of, batch, PrivateRows(np.ones(1)), rule) <= OVER).all()
