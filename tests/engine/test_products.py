"""Products of a layer's gradients, from their factors, against the formed gradients."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from batchgrad_engine.measurement.products import products
from batchgrad_engine.measurement.shortcuts import AVERAGED_ERROR, FROZEN, MEAN_EXAMPLE
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels.comparison import DIFFERENCE, OWN, PROPAGATION
from batchgrad_workers.nn.layers.linear import Linear
from batchgrad_workers.runtime.threads import ThreadPool


def drawn(steps: int, outputs: int, width: int, dtype: Any) -> tuple[Array, Array, Array, Array]:
    """G's weight and bias, and (a, δ) by place; averaged_error has the mean input that F has."""
    random = np.random.default_rng(steps)
    inputs, errors = random.normal(size=(steps, 3, width)), random.normal(size=(steps, 3, outputs))
    inputs[:, AVERAGED_ERROR] = inputs[:, FROZEN]
    weight = random.normal(size=(steps, outputs, width)) * 0.1
    weight += errors[:, FROZEN, :, None] * inputs[:, FROZEN, None, :]
    bias = random.normal(size=(steps, outputs))
    return (
        weight.astype(dtype),
        bias.astype(dtype),
        inputs.astype(dtype),
        errors.astype(dtype),
    )


def by_hand(weight: Array, bias: Array | None, inputs: Array, errors: Array) -> Any:
    """(5, s, 3), in long double."""
    found = np.zeros((5, len(weight), 3))
    for s in range(len(weight)):
        a, delta = inputs[s].astype(np.longdouble), errors[s].astype(np.longdouble)
        exact = weight[s].astype(np.longdouble).reshape(-1)
        formed = [np.outer(delta[k], a[k]).reshape(-1) for k in range(3)]
        if bias is not None:
            exact = np.concatenate([exact, bias[s]])
            formed = [np.concatenate([v, delta[k]]) for k, v in enumerate(formed)]
        for k, v in enumerate(formed):
            gap, lost = exact - v, formed[FROZEN] - v
            found[:, s, k] = exact @ exact, gap @ gap, lost @ lost, exact @ v, v @ v
    return found


def measured(weight: Array, bias: Array | None, inputs: Array, errors: Array, threads: int) -> Any:
    layer = Linear((weight.shape[2],), weight.shape[1], bias is not None)
    parts = [weight.reshape(len(weight), -1), *([] if bias is None else [bias])]
    padding = np.full((len(weight), 5), np.nan, weight.dtype)  # other layers' parameters
    exact = np.concatenate([padding, *parts, padding], axis=1)
    with ThreadPool(threads) as pool:
        return products(layer, exact, 5, inputs, errors, pool).transpose(1, 0, 2)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_from_vectors_and_from_gradients(dtype: Any, tolerance: float, *, with_bias: bool) -> None:
    weight, bias, inputs, errors = drawn(4, 7, 11, dtype)
    of = weight, bias if with_bias else None, inputs, errors
    assert_allclose(measured(*of, threads=1), by_hand(*of), rtol=tolerance, atol=tolerance)


def test_same_bits_for_any_threads_and_steps() -> None:
    weight, bias, inputs, errors = drawn(2, 640, 900, np.float32)  # three blocks and more each
    both = measured(weight, bias, inputs, errors, threads=1)
    assert both.tobytes() == measured(weight, bias, inputs, errors, threads=3).tobytes()
    for s in range(2):
        one = measured(weight[s : s + 1], bias[s : s + 1], inputs[s : s + 1], errors[s : s + 1], 2)
        assert both[:, s : s + 1].tobytes() == one.tobytes()


@pytest.mark.parametrize(("dtype", "relative"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_covariance_that_propagation_cancels_leaves_digits(dtype: Any, relative: float) -> None:
    """G is almost s, yet F is far from both: the difference itself is formed."""
    weight, bias, inputs, errors = drawn(3, 20, 30, np.float64)
    place = MEAN_EXAMPLE
    weight = errors[:, place, :, None] * inputs[:, place, None, :] * (1 + 1e-5)
    bias = errors[:, place] * (1 + 1e-5)
    weight, bias, inputs, errors = (x.astype(dtype) for x in (weight, bias, inputs, errors))
    found = measured(weight, bias, inputs, errors, 1)
    expected = by_hand(weight, bias, inputs, errors)
    size = np.sqrt(expected[4, :, place])
    gaps = np.sqrt(found[DIFFERENCE, :, place]), np.sqrt(expected[DIFFERENCE, :, place])
    assert (np.abs(gaps[0] - gaps[1]) <= relative * size).all()
    assert (found[DIFFERENCE] >= 0).all()


def test_shortcut_scaled_to_and_fro_loses_nothing() -> None:
    """A = 2ā and δ = δ̄/2: F and v are one up to rounding, though their vectors differ."""
    weight, _, inputs, errors = drawn(1, 6, 8, np.float32)
    inputs[:, MEAN_EXAMPLE], errors[:, MEAN_EXAMPLE] = 2 * inputs[:, 0], errors[:, 0] / 2
    found = measured(weight, None, inputs, errors, 1)
    rounded = np.finfo(np.float32).eps * np.sqrt(found[OWN, 0, FROZEN])
    assert np.sqrt(found[PROPAGATION, 0, MEAN_EXAMPLE]) <= rounded


@pytest.mark.parametrize("with_bias", [True, False])
def test_equal_vectors_are_no_distance_apart(*, with_bias: bool) -> None:
    weight, bias, inputs, errors = drawn(2, 6, 40, np.float32)
    inputs[:, MEAN_EXAMPLE], errors[:, MEAN_EXAMPLE] = inputs[:, 0], errors[:, 0]
    found = measured(weight, bias if with_bias else None, inputs, errors, 1)
    assert (found[PROPAGATION, :, MEAN_EXAMPLE] == 0).all()
    assert (found[DIFFERENCE, :, MEAN_EXAMPLE] == found[DIFFERENCE, :, FROZEN]).all()


def test_wide_rows_are_added_up_without_loss() -> None:
    random = np.random.default_rng(0)
    weight, inputs = random.uniform(0, 1, (1, 1, 300_000)), random.uniform(0, 1, (1, 3, 300_000))
    drawn_parts = (weight, inputs, random.normal(size=(1, 3, 1)))
    of, a, delta = (part.astype(np.float32) for part in drawn_parts)
    assert_allclose(measured(of, None, a, delta, 1), by_hand(of, None, a, delta), rtol=1e-5)
