"""Activations and losses at their kinks, far out, and in single precision.

Their values and slopes elsewhere are checked by complex steps, through whole answers.
"""

import warnings
from typing import Any, get_args

import numpy as np
import pytest

from batchgrad import contract
from batchgrad.contract import ACTIVATIONS, Model
from batchgrad_workers.nn import activations
from batchgrad_workers.nn.layers import Layer
from batchgrad_workers.nn.losses import LOSSES, target_rows
from batchgrad_workers.nn.network import Network

FAR = np.array([[-1e4, -800.0, -1.0, 0.0, 1.0, 800.0, 1e4]])
FAR_VALUES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "tanh": ((-1, 1), (0, 0)),
    "sigmoid": ((0, 1), (0, 0)),
    **dict.fromkeys(["relu", "gelu", "silu", "softplus"], ((0.0, 1e4), (0.0, 1.0))),
    "elu": ((-1, 1e4), (0, 1)),
    "identity": ((-1e4, 1e4), (1, 1)),
}
"""Values at both ends of `FAR`, and slopes."""

FAR_LOSSES = {"squared_error", "absolute_error", "huber", "linear_error"} | {
    name for name, kind in contract.LOSSES.items() if kind.link
}
"""Losses that grow no faster than outputs squared."""


def layer(kind: str, **fields: Any) -> Layer:
    model = Model.model_validate({"layers": [{"kind": kind, **fields}]})
    return Network(model, (FAR.shape[1],)).layers[0]


def slope(of: Layer, a: Any) -> Any:
    return of.backward({}, a, of.forward({}, a), np.ones_like(a))


@pytest.mark.parametrize(
    ("kind", "fields", "at_zero"),
    [
        ("relu", {}, 0.0),
        ("leaky_relu", {}, 0.01),
        ("leaky_relu", {"negative_slope": 0.3}, 0.3),
        ("elu", {}, 1.0),
        ("elu", {"alpha": 0.5}, 0.5),
    ],
)
def test_the_slope_at_a_kink_is_the_left_one_as_in_torch(
    kind: str, fields: dict[str, float], at_zero: float
) -> None:
    assert slope(layer(kind, **fields), np.zeros((1, 1)))[0, 0] == at_zero


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_far_out_nothing_overflows_and_the_dtype_stays(kind: str, dtype: str) -> None:
    own, a = layer(kind), FAR.astype(dtype)
    low, high = ACTIVATIONS[kind].model_validate({"kind": kind}).output_range

    with np.errstate(under="ignore"):
        z, slopes = own.forward({}, a), slope(own, a)

    assert z.dtype == slopes.dtype == np.dtype(dtype)
    assert np.isfinite(z).all()
    assert np.isfinite(slopes).all()
    assert low <= z.min() <= z.max() <= high
    if kind in FAR_VALUES:
        (left, right), (left_slope, right_slope) = FAR_VALUES[kind]
        assert (z[0, 0], z[0, -1]) == (left, right)
        assert (slopes[0, 0], slopes[0, -1]) == (left_slope, right_slope)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_far_outputs_are_finite_and_keep_their_dtype(name: Any, dtype: str) -> None:
    exponential = name not in FAR_LOSSES  # e^80 is in float32's range
    outputs = (FAR * (80 / FAR.max() if exponential else 1)).astype(dtype)
    targets = np.zeros_like(outputs)
    targets[0, 3] = 1

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values, errors = LOSSES[name].function(outputs, targets)

    assert values.shape == (1,)
    assert values.dtype == errors.dtype == np.dtype(dtype)
    assert np.isfinite(values).all()
    assert np.isfinite(errors).all()


def test_losses_by_hand() -> None:
    """Two examples of two outputs; no ½ and no division by either two."""
    outputs, targets = np.array([[3.0, 0.5], [0.0, -2.0]]), np.array([[0.0, 0.0], [0.0, 1.0]])
    expected = {
        "squared_error": ([9.25, 9.0], [[6.0, 1.0], [0.0, -6.0]]),
        "absolute_error": ([3.5, 3.0], [[1.0, 1.0], [0.0, -1.0]]),
        "huber": ([2.625, 2.5], [[1.0, 0.5], [0.0, -1.0]]),
        "linear_error": ([-3.5, 3.0], [[-1.0, -1.0], [-1.0, -1.0]]),
    }

    for name, (values, errors) in expected.items():
        got_values, got_errors = LOSSES[name].function(outputs, targets)  # type: ignore[index]
        assert got_values.tolist() == values
        assert got_errors.tolist() == errors


def test_right_answers() -> None:
    logits = np.array([[0.1, 0.3, 0.2], [2.0, 1.0, 0.0]])
    softmax, sigmoid = LOSSES["softmax_cross_entropy"], LOSSES["sigmoid_cross_entropy"]
    assert softmax.correct is not None
    assert sigmoid.correct is not None

    classes = target_rows(softmax, np.array([1, 2]), 3, np.float64)

    assert softmax.correct(logits, classes).tolist() == [True, False]
    signs = np.array([[1.0, -1.0], [1.0, 1.0]])
    assert sigmoid.correct(signs, np.array([[1.0, 0.0], [1.0, 0.0]])).tolist() == [True, False]
    assert LOSSES["squared_error"].correct is None


def test_kinds_have_functions() -> None:
    assert {*activations.ACTIVATIONS} == {*ACTIVATIONS}
    assert {*LOSSES} == {*contract.LOSSES} == {*get_args(contract.Loss)}
    for name, loss in LOSSES.items():
        assert (loss.correct is not None) == bool(contract.LOSSES[name].right)
