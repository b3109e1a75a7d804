"""Every rule against its published formula, one number at a time, in Python floats."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import OPTIMIZERS, Adam, AdamW, Sgd
from batchgrad.contract import Optimizer as Rule
from batchgrad_engine.training import optimizers
from batchgrad_engine.vectors import BLOCK, THREADED
from batchgrad_workers.runtime.threads import ThreadPool

ALONE = ThreadPool(1)
RANDOM = np.random.default_rng(0)
START = RANDOM.normal(size=7)
GRADIENTS = RANDOM.normal(size=(6, 7))


RATES = [0.1, 0.2, 0.05, 0.05, 0.3, 0.01]


def by_hand_sgd(spec: Sgd) -> Callable[[float, list[float]], float]:
    def run(theta: float, gradients: list[float]) -> float:
        velocity = None
        for given, rate in zip(gradients, RATES, strict=True):
            gradient = given + spec.weight_decay * theta
            if spec.momentum:
                velocity = gradient if velocity is None else spec.momentum * velocity + gradient
                gradient = gradient + spec.momentum * velocity if spec.nesterov else velocity
            theta -= rate * gradient
        return theta

    return run


def by_hand_adam(spec: Adam | AdamW) -> Callable[[float, list[float]], float]:
    def run(theta: float, gradients: list[float]) -> float:
        first = second = 0.0
        for t, (given, rate) in enumerate(zip(gradients, RATES, strict=True), start=1):
            gradient = given
            if spec.kind == "adamw":
                theta -= rate * spec.weight_decay * theta
            else:
                gradient += spec.weight_decay * theta
            first = spec.beta1 * first + (1 - spec.beta1) * gradient
            second = spec.beta2 * second + (1 - spec.beta2) * gradient**2
            corrected = first / (1 - spec.beta1**t)
            scale = sqrt(second / (1 - spec.beta2**t)) + spec.eps
            theta -= rate * corrected / scale
        return theta

    return run


SPECS: list[Rule] = [
    Sgd(kind="sgd", learning_rate=0.1),
    Sgd(kind="sgd", learning_rate=0.1, momentum=0.9),
    Sgd(kind="sgd", learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    Adam(kind="adam", learning_rate=0.01),
    Adam(kind="adam", learning_rate=0.01, weight_decay=0.1, beta1=0.5),
    AdamW(kind="adamw", learning_rate=0.01, weight_decay=0.1),
]
BY_HAND: dict[str, Callable[[Any], Callable[[float, list[float]], float]]] = {
    "sgd": by_hand_sgd,
    "adam": by_hand_adam,
    "adamw": by_hand_adam,
}


def test_every_kind_of_rule_is_here() -> None:
    assert {*OPTIMIZERS} == {*BY_HAND} == {spec.kind for spec in SPECS}


@pytest.mark.parametrize("spec", SPECS)
def test_rule_is_its_formula(spec: Rule) -> None:
    by_hand = BY_HAND[spec.kind](spec)
    parameters, rule = START.copy(), optimizers.make_optimizer(spec, ALONE)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        rule.update(parameters, gradient, rate)
    expected = [by_hand(START[k], list(GRADIENTS[:, k])) for k in range(len(START))]
    np.testing.assert_allclose(parameters, expected, rtol=1e-13)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_restored_rule_goes_on_with_the_same_bits(spec: Rule, dtype: type[Any]) -> None:
    whole, first_half = START.astype(dtype), START.astype(dtype)
    rule, before = optimizers.make_optimizer(spec, ALONE), optimizers.make_optimizer(spec, ALONE)
    steps = list(zip(GRADIENTS.astype(dtype), RATES, strict=True))
    for gradient, rate in steps:
        rule.update(whole, gradient, rate)
    for gradient, rate in steps[:3]:
        before.update(first_half, gradient, rate)
    after = optimizers.make_optimizer(spec, ALONE)
    after.restore(before.state())
    for gradient, rate in steps[3:]:
        after.update(first_half, gradient, rate)
    assert first_half.dtype == dtype
    assert first_half.tobytes() == whole.tobytes()


@pytest.mark.parametrize("spec", SPECS)
def test_long_vectors_have_the_same_bits_in_blocks_and_on_threads(spec: Rule) -> None:
    size = THREADED + BLOCK + 3
    start, *gradients = np.random.default_rng(1).normal(size=(4, size)).astype(np.float32)
    pieces = [slice(None, 2), slice(2, BLOCK + 1), slice(BLOCK + 1, None)]
    with ThreadPool(3) as pool:
        rule, whole = optimizers.make_optimizer(spec, pool), start.copy()
        for gradient in gradients:
            rule.update(whole, gradient, 0.1)
    for piece in pieces:
        apart, rule = start[piece].copy(), optimizers.make_optimizer(spec, ALONE)
        for gradient in gradients:
            rule.update(apart, gradient[piece].copy(), 0.1)
        assert apart.tobytes() == whole[piece].tobytes()


def test_gradient_is_left_alone() -> None:
    for spec in SPECS:
        gradient = GRADIENTS[0].copy()
        rule = optimizers.make_optimizer(spec, ALONE)
        for _ in range(2):
            rule.update(START.copy(), gradient, 0.1)
        np.testing.assert_array_equal(gradient, GRADIENTS[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clipping_is_its_formula(dtype: type[Any]) -> None:
    gradient = np.array([3.0, 0.0, -4.0], dtype)
    np.testing.assert_array_equal(optimizers.clipped(gradient, 2.5), gradient / 2)
    assert optimizers.clipped(gradient, 2.5).dtype == dtype
    np.testing.assert_array_equal(gradient, [3.0, 0.0, -4.0])
    for limit in (None, 5.0, 6.0):
        assert optimizers.clipped(gradient, limit) is gradient


@pytest.mark.parametrize(
    ("dtype", "size"), [("float32", 1e-25), ("float32", 1e38), ("float64", 1e200)]
)
def test_clipping_where_squares_leave_their_range(dtype: str, size: float) -> None:
    gradient = np.array([3.0, -1.0, 0.5] * 50).astype(dtype) * np.dtype(dtype).type(size)
    clipped = optimizers.clipped(gradient, 1e-30)
    exact = gradient.astype(np.longdouble)
    right = exact / np.linalg.norm(exact) * np.longdouble(1e-30)
    assert clipped.dtype == dtype
    assert clipped.astype(np.longdouble) == pytest.approx(right, rel=1e-6, abs=0)


def test_what_is_not_finite_is_not_clipped_away() -> None:
    gradient = np.array([np.inf, 1.0])
    assert optimizers.clipped(gradient, 1.0) is gradient


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("strange", [np.inf, -np.inf, np.nan])
def test_an_update_along_what_is_not_finite_shows_in_the_parameters(
    spec: Rule, strange: float
) -> None:
    """The next step's losses then end the job: G is finite, a shortcut's gradient may be not."""
    parameters, gradient = np.zeros(40, np.float32), np.ones(40, np.float32)
    gradient[17] = strange
    optimizers.make_optimizer(spec, ALONE).update(parameters, gradient, 0.1)
    assert np.flatnonzero(~np.isfinite(parameters)).tolist() == [17]


@pytest.mark.parametrize("kind", ["adam", "adamw"])
@pytest.mark.parametrize("size", [1e-38, 1e-25, 1e-12, 1.0, 1e15, 1e25, 3e38])
def test_adam_s_first_steps_are_as_long_as_the_rate_whatever_the_gradient_s_size(
    kind: str, size: float
) -> None:
    """In float32, also where the squares of v leave its range; a gradient of 0 moves nothing."""
    spec: Any = {"adam": Adam, "adamw": AdamW}[kind](
        kind=kind, learning_rate=0.125, eps=1e-50, weight_decay=0
    )
    rule = optimizers.make_optimizer(spec, ALONE)
    theta = np.zeros(3, np.float32)
    gradient = np.array([size, -size, 0], np.float32)
    for step in (1, 2):
        rule.update(theta, gradient, 0.125)
        if size >= 1e-15:
            assert theta == pytest.approx(np.array([-0.125, 0.125, 0]) * step, rel=1e-5)
        assert np.abs(theta).max() <= 0.126 * step
        assert theta[2] == 0
