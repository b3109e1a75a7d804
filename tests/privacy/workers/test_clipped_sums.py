"""Clipped sums against their definition: for every layer, clipping, unit, weight and precision."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgrad.contract import Clipping, Model
from batchgrad_workers.arrays import Floats
from batchgrad_workers.nn.gradients import Microbatch
from batchgrad_workers.nn.network import Network
from batchgrad_workers.reduction.clipping import (
    CLIPPED_LOSS,
    UNCLIPPED,
    ClippingRule,
    PrivateRows,
)
from tests.workers.clipping import (
    CLIPPINGS,
    by_definition,
    formed,
    middle_norm,
    private_rows,
    sums,
    units_of,
)
from tests.workers.stacks import STACKS, microbatch, network

COUNTS = {"rows": None, "units": (1, 3, 1, 2, 3, 2), "one unit": (12,)}
TOLERANCE = {"float32": 5e-3, "float64": 1e-12}


def off(found: Any, right: Floats) -> float:
    """The distance between two vectors, relative to the right one."""
    return float(np.linalg.norm(found - right) / np.linalg.norm(right))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("units", COUNTS)
@pytest.mark.parametrize("name", STACKS)
def test_a_clipped_sum_is_that_of_its_clipped_units(
    name: str, units: str, clipping: Clipping, dtype: str
) -> None:
    of = network(name)
    theta, batch = microbatch(of, 12, dtype)
    rows = private_rows(12, COUNTS[units])
    rule = ClippingRule(clipping, middle_norm(units_of(of, theta, batch, rows)), loss_bound=3.0)
    wide = batch._replace(inputs=batch.inputs if of.takes_ids else batch.inputs.astype("f8"))
    wide = wide._replace(targets=batch.targets.astype("f8"), weights=batch.weights.astype("f8"))

    found = sums(of, theta, batch, rows, rule)

    right = by_definition(of, theta.astype("f8"), wide, rows, rule)
    assert off(found.gradient, right) < TOLERANCE[dtype]
    assert found.gradient.dtype == dtype
    assert found.means.size == found.microbatch_means.size == 0


@pytest.mark.parametrize("name", STACKS)
def test_units_of_one_row_go_the_ordinary_way(name: str) -> None:
    of = network(name)
    theta, batch = microbatch(of, 12, "float32")
    rule, alone = ClippingRule("flat", 1.0), private_rows(12)

    expected = sums(of, theta, batch, alone, rule)
    found = sums(of, theta, batch, private_rows(12, (1,) * 12), rule)

    assert found.gradient.tobytes() == expected.gradient.tobytes()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(STACKS)), st.data(), st.integers(0, 2**32))
def test_any_units_and_weights(name: str, data: st.DataObject, seed: int) -> None:
    of = network(name)
    counts = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    theta, batch = microbatch(of, sum(counts), seed=seed)
    rows = private_rows(sum(counts), counts, seed)
    rows.weights[:] *= 10.0 ** data.draw(st.integers(-30, 30))
    rows.weights[0] = data.draw(st.sampled_from([0.0, rows.weights[0]]))
    units = units_of(of, theta, batch, rows)
    rule = ClippingRule(data.draw(st.sampled_from(CLIPPINGS)), middle_norm(units) or 1.0)

    found = sums(of, theta, batch, rows, rule)

    right = by_definition(of, theta, batch, rows, rule)
    np.testing.assert_allclose(found.gradient, right, rtol=1e-9, atol=1e-11 * rule.clip_norm)


def test_the_weight_is_inside_the_norm() -> None:
    """A row of weight 10 counts for C at most, not for 10 C."""
    of = network("linear")
    theta, batch = microbatch(of, 1)
    found = sums(of, theta, batch, PrivateRows(np.array([1e6])), ClippingRule("flat", 0.5))
    assert np.linalg.norm(found.gradient) == pytest.approx(0.5, rel=1e-9)


def test_units_are_clipped_before_they_are_added() -> None:
    """Two opposite gradients of one length leave 0; clipped after adding they would as well.

    So one of them is a hundred times the other: clipped, they cancel.
    """
    of = Network(Model.model_validate({"layers": [{"kind": "linear", "out_features": 2}]}), (3,))
    inputs = np.ones((2, 3))
    targets = np.array([[1.0, 2.0], [-100.0, -200.0]])
    batch = Microbatch(inputs, targets, np.ones(2))
    found = sums(of, np.zeros(of.size), batch, PrivateRows(np.ones(2)), ClippingRule("flat", 0.1))
    assert np.linalg.norm(found.gradient) < 1e-12


def test_a_sequence_s_norm_is_of_the_sum_over_positions() -> None:
    """Not the root of summed squares (Opacus issue 792 and pull request 751)."""
    of = Network(Model.model_validate({"layers": [{"kind": "linear", "out_features": 2}]}), (6, 3))
    batch = Microbatch(np.ones((1, 6, 3)), np.full((1, 12), -0.5), np.ones(1))
    theta = np.zeros(of.size)
    exact = float(np.linalg.norm(formed(of, theta, batch)))

    found = sums(of, theta, batch, PrivateRows(np.ones(1)), ClippingRule("flat", exact / 2))

    assert exact == pytest.approx(6 * np.sqrt(8))
    assert np.linalg.norm(found.gradient) == pytest.approx(exact / 2, rel=1e-9)


def test_totals_are_clipped_losses_and_unclipped_units() -> None:
    of = network("residual")
    theta, batch = microbatch(of, 12)
    rows = private_rows(12, (1, 3, 1, 2, 3, 2))
    units = units_of(of, theta, batch, rows)
    rule = ClippingRule("flat", middle_norm(units), loss_bound=2.0)
    outputs = of.forward(of.drawing(of.views(theta), batch.keys), batch.inputs)[-1]
    losses = np.square(outputs - batch.targets).sum(axis=1).clip(0, 2)
    by_unit = [own.sum() for own in np.split(losses, rows.starts[1:])]  # type: ignore[index]

    found = sums(of, theta, batch, rows, rule).totals

    assert found[CLIPPED_LOSS] == pytest.approx(np.minimum(by_unit, 2).sum())
    assert found[UNCLIPPED] == (np.linalg.norm(units, axis=1) <= rule.clip_norm).sum() == 3


@pytest.mark.parametrize("units", [False, True])
def test_many_rows_are_split_between_units(units: bool) -> None:
    of = network("linear")
    theta, batch = microbatch(of, 5000)
    rows = private_rows(5000, [3] * 1600 + [200] if units else None)
    rule = ClippingRule("flat", 3.0)
    found = sums(of, theta, batch, rows, rule)
    assert off(found.gradient, by_definition(of, theta, batch, rows, rule)) < 1e-12


def test_one_unit_is_never_split() -> None:
    of = network("linear")
    theta, batch = microbatch(of, 3000)
    found = sums(of, theta, batch, private_rows(3000, (3000,)), ClippingRule("flat", 0.5))
    assert np.linalg.norm(found.gradient) == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("name", STACKS)
def test_no_rows_add_nothing(name: str) -> None:
    of = network(name)
    theta, batch = microbatch(of, 3)
    found = sums(of, theta, batch.part(slice(0)), PrivateRows(np.ones(0)), ClippingRule("flat", 1))
    assert found.gradient.tolist() == [0.0] * of.size
    assert found.totals.tolist() == [0.0] * 3


@pytest.mark.parametrize("name", STACKS)
def test_no_parameter_is_used_by_two_layers(name: str) -> None:
    """Norms of a parameter that two layers share would not add up (Opacus issue 413)."""
    of = network(name)
    marks = np.zeros(of.size)
    for layer in of.views(marks):
        for parameter in layer.values():
            np.add(parameter, 1, out=parameter)
    assert marks.tolist() == [1.0] * of.size
