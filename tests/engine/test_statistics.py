"""Figures of every step against their definitions."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgrad.contract import EXAMPLE_NORM_BOUNDS
from batchgrad_engine.measurement.statistics import (
    DECAY,
    NoiseScale,
    SmoothedNoise,
    histograms,
    noise_scale,
    norm_test,
)

FINITE = st.floats(0, 1e6)


@given(st.lists(st.one_of(FINITE, st.sampled_from(EXAMPLE_NORM_BOUNDS))))
def test_histogram_counts_up_to_each_bound(norms: list[float]) -> None:
    counts = histograms(np.array([norms], float))[0]
    assert len(counts) == len(EXAMPLE_NORM_BOUNDS) + 1
    for place, bound in enumerate(EXAMPLE_NORM_BOUNDS):
        assert sum(counts[: place + 1]) == sum(norm <= bound for norm in norms)
    assert sum(counts) == len(norms)


def test_norm_test_by_the_variances_themselves() -> None:
    gradients = np.random.default_rng(1).normal(0.3, 1, size=(40, 7))
    mean = gradients.mean(axis=0)
    variance = gradients.var(axis=0, ddof=1).sum()
    squared = float(mean @ mean)
    noise = noise_scale(np.linalg.norm(gradients, axis=1), np.ones(40), sqrt(squared))
    found = norm_test(noise.trace, 40, sqrt(squared))
    assert found["ratio"] == pytest.approx(sqrt(variance / 40) / np.linalg.norm(mean))
    # At that batch size the test holds with equality for θ = 1/2.
    assert found["batch_size"] is not None
    assert variance / found["batch_size"] == pytest.approx(0.5**2 * squared)


def test_norm_test_where_it_has_no_meaning() -> None:
    for trace, norm in ((None, 1.0), (1.0, 0.0), (1.0, float("nan"))):
        found = norm_test(trace, 4, norm)
        assert found == {"ratio": None, "batch_size": None}
    same = norm_test(0.0, 4, 1.0)  # equal examples
    assert same == {"ratio": 0.0, "batch_size": 0.0}


STEPS = [(3.0, 1.0), (None, None), (5.0, -4.0), (2.0, 0.5)]


def noises() -> list[NoiseScale]:
    return [NoiseScale(trace, signal, None) for trace, signal in STEPS]


def test_trace_and_signal_are_smoothed_apart() -> None:
    smoothing = SmoothedNoise()
    found = [smoothing.add(noise) for noise in noises()]
    weights = np.array([DECAY**2, DECAY, 1])
    trace = np.average([3, 5, 2], weights=weights)
    signal = np.average([1, -4, 0.5], weights=weights)
    assert found[-1].trace == pytest.approx(trace)
    assert found[-1].signal == pytest.approx(signal)
    assert [noise.simple for noise in found] == [3.0, 3.0, None, None]  # the signal is below 0


def test_a_small_minibatch_tells_as_little_of_the_noise_as_it_has_examples() -> None:
    smoothing = SmoothedNoise()
    smoothing.add(NoiseScale(3.0, 1.0, 3.0))
    found = smoothing.add(NoiseScale(300.0, 0.2, None), 2 / 64)
    weights = [DECAY, 2 / 64]
    assert found.trace == pytest.approx(np.average([3, 300], weights=weights))
    assert found.signal == pytest.approx(np.average([1, 0.2], weights=weights))


def test_constant_figures_come_back_from_the_first_step_on() -> None:
    smoothing = SmoothedNoise()
    for _ in range(5):
        found = smoothing.add(NoiseScale(6.0, 2.0, 3.0))
        assert (found.trace, found.signal, found.simple) == pytest.approx((6, 2, 3))


def test_undetermined_until_the_first_step_that_says_something() -> None:
    assert SmoothedNoise().add(NoiseScale(None, None, None)).simple is None


def test_restored_smoothing_goes_on_with_the_same_bits() -> None:
    whole, first, second = SmoothedNoise(), SmoothedNoise(), SmoothedNoise()
    expected = [whole.add(noise) for noise in noises()]
    for noise in noises()[:2]:
        first.add(noise)
    second.restore(first.state())
    assert [second.add(noise) for noise in noises()[2:]] == expected[2:]
