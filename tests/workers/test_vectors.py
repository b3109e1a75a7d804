"""Loops that could go number by number: each costs little more than a loop that does as much."""

from collections.abc import Callable
from time import thread_time
from typing import Any

import numpy as np
import pytest

from batchgrad_workers.nn.kernels.activations import add_bias
from batchgrad_workers.nn.kernels.gradients import linear_sums
from batchgrad_workers.nn.kernels.pooling import max_pool, max_pool_vjp, sum_pool, sum_pool_vjp

ROWS, WIDTH = 64, 512
GEOMETRY = (2, 2, 2, 2, 0, 0, 1, 1, 8, 8)
Loop = Callable[[], object]


def numbers(*shape: int) -> Any:
    """Half of them are negative, in no order that a processor could guess."""
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


WEIGHTS = np.ones(ROWS, np.float32)
IMAGES, POOLED = numbers(ROWS, 16, 16, 6), numbers(ROWS, 8, 8, 6)


def sums_where(active: Any) -> Loop:
    inputs, error, norms, sums = numbers(ROWS, 8), numbers(ROWS, WIDTH), np.zeros(ROWS), numbers(8)
    weighted, error_sum = numbers(0, 0), numbers(WIDTH)
    arguments = (inputs, active, WEIGHTS, True, error, weighted, norms, error_sum, sums)
    return lambda: linear_sums(*arguments)


def biased(*, apply_relu: bool) -> Loop:
    z, bias, sums = numbers(ROWS, WIDTH), numbers(WIDTH), numbers(WIDTH)
    return lambda: add_bias(bias, apply_relu, WEIGHTS, z, sums)


def pooled(by: Any) -> Loop:
    images, outputs = numbers(ROWS, 16, 16, 16), numbers(ROWS, 8, 8, 16)
    return lambda: by(images, GEOMETRY, outputs)


def errors_of_largest() -> Loop:
    below, outputs = np.empty_like(IMAGES), np.empty_like(POOLED)
    max_pool(IMAGES, GEOMETRY, outputs)
    return lambda: max_pool_vjp(IMAGES, GEOMETRY, outputs, POOLED.copy(), below)


def errors_of_sums() -> Loop:
    below = np.empty_like(IMAGES)
    return lambda: sum_pool_vjp(POOLED.copy(), GEOMETRY, below)


PAIRS: dict[str, tuple[Callable[[], tuple[Loop, Loop]], float]] = {
    "error where ReLU is active": (
        lambda: (sums_where(numbers(ROWS, WIDTH)), sums_where(numbers(0, 0))),
        3,
    ),
    "ReLU": (lambda: (biased(apply_relu=True), biased(apply_relu=False)), 2),
    "max pool": (lambda: (pooled(max_pool), pooled(sum_pool)), 2),
    "error of max pool": (lambda: (errors_of_largest(), errors_of_sums()), 3.5),
}
"""A loop that chooses for each number, one that does not, and how much longer the first may take.

ReLU's error went number by number anywhere, the others where masked stores are slow, as on AMD's.
"""


def least_seconds(loops: tuple[Loop, Loop], rounds: int = 40) -> list[float]:
    """The least time of each, taken by turns, without what the first call compiles."""
    found: list[list[float]] = [[], []]
    for _ in range(rounds):
        for loop, times in zip(loops, found, strict=True):
            began = thread_time()
            loop()
            times.append(thread_time() - began)
    return [min(times) for times in found]


@pytest.mark.parametrize("pair", PAIRS)
def test_a_choice_for_each_number_goes_by_vectors(pair: str) -> None:
    loops, times = PAIRS[pair]
    chosen, all_alike = least_seconds(loops())
    assert chosen < times * all_alike
