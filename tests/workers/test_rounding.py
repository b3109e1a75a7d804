"""Sums that are rounded to bfloat16: their numbers, and the same bits for any ranges."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from batchgrad_workers.arrays import Array
from batchgrad_workers.reduction.rounding import REDUCTIONS, unpacked
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import ShardRunner
from tests.workers.jobs import M, bits, store, theta, whole, worker_config

ROUNDED = REDUCTIONS["bfloat16"]


def sums(gradient: Array) -> GradientSums:
    return GradientSums(gradient, np.arange(3.0), gradient[:1].copy(), np.ones(2, np.float32))


def nearest(number: float) -> float:
    """The nearest number with 8 significant bits; of two, the one whose last bit is 0."""
    _, exponent = np.frexp(np.float64(number))
    quantum = np.ldexp(1.0, max(int(exponent), -125) - 8)  # subnormal numbers have fewer bits
    return float(np.rint(np.float64(number) / quantum) * quantum)


@given(
    drawn.arrays(np.float32, st.integers(1, 9), elements=st.floats(-(2.0**127), 2.0**127, width=32))
)
def test_each_number_is_rounded_to_the_nearest(gradient: Array) -> None:
    found = ROUNDED.leaf(sums(gradient.copy()))
    assert found.gradient.dtype == np.float32
    assert found.gradient.tolist() == [nearest(number) for number in gradient.tolist()]
    assert found.microbatch_means.tolist() == [nearest(gradient[0])]
    assert found.totals.tolist() == [0, 1, 2]
    assert found.means.tolist() == [1, 1]


def test_nan_and_infinities_stay() -> None:
    odd = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    found = ROUNDED.leaf(sums(odd)).gradient
    assert np.isnan(found[0])
    assert found[1:3].tolist() == [np.inf, -np.inf]
    assert np.signbit(found[3])


@given(drawn.arrays(np.float32, 5, elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_what_is_rounded_travels_in_half_of_the_bytes_without_loss(gradient: Array) -> None:
    kept = ROUNDED.leaf(sums(gradient))
    travelled = ROUNDED.packed(kept)
    assert travelled.gradient.nbytes == kept.gradient.nbytes // 2
    assert bits(unpacked(travelled)) == bits(kept)


def test_full_sums_travel_as_they_are() -> None:
    own = sums(np.ones(4))
    assert unpacked(REDUCTIONS["full"].packed(own)).gradient is own.gradient


@pytest.fixture
def job(tmp_path: Path) -> WorkerConfig:
    changes: dict[str, Any] = {"precision": "float32", "shortcuts": ("mean_of_means",)}
    return worker_config(store(tmp_path), **changes)


@pytest.mark.parametrize("parts", [[(0, 5), (5, M)], [(k, k + 1) for k in range(M)]])
@pytest.mark.parametrize("threads", [1, 3])
def test_any_ranges_give_the_same_bits(
    job: WorkerConfig, parts: list[tuple[int, int]], threads: int
) -> None:
    rounded = replace(job, sums="bfloat16")
    alone, _ = whole(rounded)
    found, _ = whole(rounded, parts, threads)
    assert bits(found) == bits(alone)
    exact, _ = whole(job)
    assert bits(exact) != bits(alone)
    size = np.abs(exact.gradient).max()
    assert np.abs(alone.gradient - exact.gradient).max() < size * 2**-8 * M.bit_length()
    assert alone.totals.tolist() == exact.totals.tolist()


@pytest.mark.parametrize(("start", "stop"), [(0, M), (0, 8), (3, 4), (5, M)])
def test_sums_of_a_range_travel_without_loss(job: WorkerConfig, start: int, stop: int) -> None:
    rounded = replace(job, sums="bfloat16")
    with closing(ShardRunner(rounded, 1)) as shard:
        nodes = shard.gradient_sums(0, theta(rounded), start, stop).nodes
        assert shard.reduction is ROUNDED
    for node in nodes:
        assert bits(unpacked(ROUNDED.packed(node.sum))) == bits(node.sum)
