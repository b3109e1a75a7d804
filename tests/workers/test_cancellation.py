"""Values and slopes where a formula could cancel, and long sums, against long double."""

from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Loss, Model
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.gradients import Differentiator, Microbatch
from batchgrad_workers.nn.layers.embedding import Embedding
from batchgrad_workers.nn.layers.normalization import LayerNorm
from batchgrad_workers.nn.layers.outer_products import bias_sums
from batchgrad_workers.nn.layers.pooling import AvgPool2d
from batchgrad_workers.nn.layers.windows import Windows
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.network import Network
from tests.workers.test_elementwise import layer, slope

L = np.longdouble
A = np.array([[-40.0, -15.0, -6.0, -2.0, 2.0, 6.0, 15.0, 40.0]], L)
SIGMOID_SLOPE = np.exp(-abs(A)) / (1 + np.exp(-abs(A))) ** 2
PHI = np.exp(-A * A / 2) / np.sqrt(2 * np.pi * L(1))
TAIL = PHI / abs(A) * (1 - 1 / A**2 + 3 / A**4 - 15 / A**6 + 105 / A**8)
"""Φ(-|a|), by its asymptotic series: to 1e-4 from |a| = 6 on."""


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("float64", 1e-14)])
@pytest.mark.parametrize(
    ("kind", "right"),
    [
        ("tanh", 4 * np.exp(-2 * abs(A)) / (1 + np.exp(-2 * abs(A))) ** 2),
        ("sigmoid", SIGMOID_SLOPE),
        ("elu", np.where(A > 0, 1, np.exp(A))),
        ("softplus", 1 / (1 + np.exp(-A))),
        ("silu", (1 + A * np.exp(-A) / (1 + np.exp(-A))) / (1 + np.exp(-A))),
    ],
)
def test_slopes_far_out(kind: str, right: Any, dtype: str, tolerance: float) -> None:
    found = slope(layer(kind), A.astype(dtype))
    assert found.astype(L) == pytest.approx(right, rel=tolerance, abs=1e-37)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gelu_far_below_0(dtype: str) -> None:
    far = A[:, 1:3].astype(dtype)
    z, slopes = layer("gelu").forward({}, far), slope(layer("gelu"), far)
    assert z.astype(L) == pytest.approx((A * TAIL)[:, 1:3], rel=1e-4, abs=1e-37)
    assert slopes.astype(L) == pytest.approx((TAIL + A * PHI)[:, 1:3], rel=1e-4, abs=1e-37)


def test_elu_and_softplus_far_below_0() -> None:
    far = A[:, :3].astype(np.float32)
    for kind, right in (("softplus", np.log1p(np.exp(A[:, :3]))), ("elu", np.expm1(A[:, :3]))):
        assert layer(kind).forward({}, far).astype(L) == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("float64", 1e-14)])
def test_sigmoid_cross_entropy_loses_no_digit(dtype: str, tolerance: float) -> None:
    logits = np.array([15.0, 20.0, 40.0, -15.0, -40.0, 0.5, 60.0])
    pairs = np.stack(np.meshgrid(logits, [0.0, 0.25, 1.0]), axis=-1).reshape(-1, 2)
    values, errors = LOSSES["sigmoid_cross_entropy"].function(
        pairs[:, :1].astype(dtype), pairs[:, 1:].astype(dtype)
    )
    f, y = pairs.T.astype(L)
    right = y * np.log1p(np.exp(-f)) + (1 - y) * np.log1p(np.exp(f))
    assert values.astype(L) == pytest.approx(right, rel=tolerance)
    slopes = -y / (1 + np.exp(f)) + (1 - y) / (1 + np.exp(-f))
    assert errors[:, 0].astype(L) == pytest.approx(slopes, rel=tolerance)


def test_sigmoid_cross_entropy_of_a_sure_answer() -> None:
    value, _ = LOSSES["sigmoid_cross_entropy"].function(
        np.full((1, 1), 15, np.float32), np.ones((1, 1), np.float32)
    )
    assert value[0] == pytest.approx(3.059023e-7, rel=1e-6)  # 0 by log(1 + e^f) - f


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float64", 1e-13)])
@pytest.mark.parametrize(
    "logits", [[20.0, 0, 1], [40, 0, -3], [0, 17, 17], [0, 0, 0], [300, 299, -40], [-5, 11, 2]]
)
def test_softmax_cross_entropy_loses_no_digit(
    logits: list[float], dtype: str, tolerance: float
) -> None:
    f, one_hot = np.array(logits, L), np.eye(3)
    values, errors = LOSSES["softmax_cross_entropy"].function(
        np.array([logits] * 3, dtype), one_hot.astype(dtype)
    )
    p = np.exp(f - f.max()) / np.exp(f - f.max()).sum()
    for picked in range(3):
        others = np.exp(np.delete(f, picked) - f[picked]).sum()
        assert float(values[picked]) == pytest.approx(float(np.log1p(others)), rel=tolerance)
        right = np.where(one_hot[picked], -others / (1 + others), p)
        assert errors[picked].astype(L) == pytest.approx(right, rel=tolerance, abs=1e-37)


def test_softmax_cross_entropy_of_logits_as_far_apart_as_they_can_be() -> None:
    largest = np.finfo(np.float32).max
    outputs = np.array([[largest, -largest], [np.inf, 0], [np.nan, 0], [0, -np.inf]], np.float32)
    with np.errstate(all="ignore"):
        values, error = LOSSES["softmax_cross_entropy"].function(
            outputs, np.array([[1, 0]] * 4, np.float32)
        )
    assert (values[0], error[0].tolist()) == (0, [0, 0])
    assert not np.isfinite(values[1:3]).any()


@pytest.mark.parametrize("name", ["squared_error", "absolute_error", "huber"])
@pytest.mark.parametrize("size", [1e-18, 1.0, 1e18])
def test_distances_of_any_size(name: Loss, size: float) -> None:
    f, y = np.array([[3, -1]], np.float32) * np.float32(size), np.zeros((1, 2), np.float32)
    value, _ = LOSSES[name].function(f, y)
    exact = np.abs(f[0].astype(L))
    right = {
        "squared_error": (exact**2).sum(),
        "absolute_error": exact.sum(),
        "huber": np.where(exact <= 1, exact**2 / 2, exact - L(0.5)).sum(),
    }[name]
    assert float(value[0]) == pytest.approx(float(right), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [3, 49, 64])
@pytest.mark.parametrize("size", [0.1, 1e4, 1e15, 1e30])
def test_layer_norm_of_equal_numbers_is_0(size: float, width: int, dtype: str) -> None:
    of = LayerNorm((width,), 1e-5)
    own = {"weight": np.ones(width, dtype), "bias": np.zeros(width, dtype)}
    inputs = np.full((2, width), size / 3, dtype)
    with np.errstate(all="ignore"):
        z = of.forward(own, inputs)
        below = of.backward(own, inputs, z, np.ones((2, width), dtype))
    assert np.abs(z).max() < 1e-6
    assert np.isfinite(below).all()


@pytest.mark.parametrize(
    ("dtype", "size", "eps"),
    [
        ("float32", 1e30, 1e-5),
        ("float32", 3e38, 1e-5),
        ("float32", 1e-30, 1e-60),
        ("float64", 1e200, 1e-5),
        ("float64", 1e-200, 1e-300),
        ("float32", 1.0, 1e-50),
    ],
)
def test_layer_norm_of_numbers_whose_squares_leave_their_range(
    dtype: str, size: float, eps: float
) -> None:
    of = LayerNorm((5,), eps)
    own = {"weight": np.ones(5, dtype), "bias": np.zeros(5, dtype)}
    inputs = (np.array([[1, 0.5, -1, 0.25, -0.75], [1, 1, 1, 1, 1]]) * size).astype(dtype)
    with np.errstate(all="ignore"):
        z = of.forward(own, inputs)
    exact = inputs.astype(L)
    centred = exact - exact.mean(axis=1, keepdims=True)
    right = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + L(eps))
    assert z.astype(L) == pytest.approx(right, rel=1e-5, abs=1e-6)


def test_many_positions_are_added_up_without_loss() -> None:
    """One accumulator was 1.4e-4 off."""
    error = np.random.default_rng(0).uniform(0, 1, (1, 200_000, 2)).astype(np.float32)
    into = np.empty(2, np.float32)
    squares = bias_sums(error, np.ones(1, np.float32), into)
    right = error[0].astype(L).sum(axis=0)
    assert into.astype(L) == pytest.approx(right, rel=1e-6)
    assert float(squares[0]) == pytest.approx(float(right @ right), rel=1e-6)


def test_many_ids_that_are_alike_are_added_up_without_loss() -> None:
    of = Embedding((200_000,), 2, 2, None)
    error = np.random.default_rng(0).uniform(0, 1, (1, 200_000, 2)).astype(np.float32)
    into = {"weight": np.empty((2, 2), np.float32)}
    ids: Any = np.zeros((1, 200_000), np.int64)
    squares = of.gradient_sums(ids, error, np.ones(1, np.float32), into)
    right = error[0].astype(L).sum(axis=0)
    assert into["weight"][0].astype(L) == pytest.approx(right, rel=1e-6)
    assert into["weight"][1].tolist() == [0, 0]
    assert float(squares[0]) == pytest.approx(float(right @ right), rel=1e-6)
    assert of.each_gradient(ids, error)["weight"][0, 0].astype(L) == pytest.approx(right, rel=1e-6)


def test_a_mean_over_a_large_window_and_the_errors_of_many_windows_lose_nothing() -> None:
    random = np.random.default_rng(0)
    pixels = random.uniform(0, 1, (1, 3, 400, 400)).astype(np.float32)
    of = AvgPool2d(Windows((3, 400, 400), (400, 400), (1, 1), (0, 0)))
    right = pixels.astype(L).mean(axis=(2, 3))
    assert of.forward({}, pixels)[:, :, 0, 0].astype(L) == pytest.approx(right, rel=3e-7)

    many = AvgPool2d(Windows((3, 99, 99), (50, 50), (1, 1), (0, 0)))
    error = random.uniform(0, 1, (1, 3, 50, 50)).astype(np.float32)
    below = many.backward({}, np.zeros((1, 3, 99, 99), np.float32), error, error)
    right = error.astype(L).mean(axis=(2, 3))  # the pixel that all windows see
    assert below[:, :, 49, 49].astype(L) == pytest.approx(right, rel=3e-7)
    assert below.dtype == np.float32


def test_a_large_microbatch_is_added_up_without_loss() -> None:
    """Of 2^18 examples: sums in one accumulator were 0.1% off."""
    of = Network(Model.model_validate({"layers": [{"kind": "linear", "out_features": 1}]}), (1,))
    random, count = np.random.default_rng(0), 1 << 18
    inputs, targets = random.uniform(0, 1, (2, count, 1)).astype(np.float32)
    theta = np.zeros(2, np.float32)
    batch = Microbatch(inputs, targets, np.ones(count, np.float32))
    differentiator = Differentiator(of, LOSSES["squared_error"], None, True)
    sums, losses, norms = differentiator.sums(of.views(theta), batch)
    x, y = inputs.astype(L), targets.astype(L)
    right: Array = np.array([(-2 * y * x).sum(), (-2 * y).sum()])
    assert sums.gradient.astype(L) == pytest.approx(right, rel=1e-6)
    assert sums.totals == pytest.approx([float((y * y).sum()), count, 1], rel=1e-6)
    assert sums.microbatch_means.astype(L) == pytest.approx(right / count, rel=1e-6)
    assert len(losses) == len(norms) == count
    exact = (2 * y * np.sqrt(x * x + 1))[:, 0]
    assert (np.abs(norms - exact) <= 1e-5 * exact).all()
