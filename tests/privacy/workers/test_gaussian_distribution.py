"""The distribution of discrete Gaussian numbers: moments, tails, low bits, independence."""

import numpy as np
import pytest
from scipy import stats

from batchgrad_workers.arrays import Integers
from batchgrad_workers.privacy.attempts import least_doubt
from batchgrad_workers.privacy.gaussian import BLOCK, discrete_gaussian, write_stream

KEY = bytes(range(32))
SIGMA = 2.0**30
COUNT = 1 << 20


@pytest.fixture(scope="module")
def drawn() -> Integers:
    return discrete_gaussian(KEY, 11, COUNT)


def assert_correlates_with_nothing(first: Integers, second: Integers) -> None:
    """Neither the numbers nor their sizes."""
    for one, other in ((first, second), (np.abs(first), np.abs(second))):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(len(one))


def test_moments_are_a_gaussians(drawn: Integers) -> None:
    z = drawn / SIGMA

    for name, figure, expected, variance in (
        ("mean", z.mean(), 0, 1),
        ("variance", (z**2).mean(), 1, 2),
        ("skewness", (z**3).mean(), 0, 15),
        ("kurtosis", (z**4).mean(), 3, 96),
    ):
        assert abs(figure - expected) < 4 * np.sqrt(variance / COUNT), name


def test_the_distribution_function_is_a_gaussians(drawn: Integers) -> None:
    assert stats.kstest(drawn / SIGMA, "norm").pvalue > 0.001


@pytest.mark.parametrize("sigmas", [1, 2, 3, 4])
def test_tails_are_a_gaussians(drawn: Integers, sigmas: int) -> None:
    for side in (drawn, -drawn):
        beyond = int((side > sigmas * SIGMA).sum())
        assert stats.binomtest(beyond, COUNT, stats.norm.sf(sigmas)).pvalue > 0.001


@pytest.mark.parametrize("beyond", [0.0, 1.0, 2.0])
def test_low_bits_are_uniform(drawn: Integers, beyond: float) -> None:
    """Also of large numbers, where a Gaussian of floating point has coarser steps."""
    low = drawn[np.abs(drawn) > beyond * SIGMA] & 0xFF

    assert stats.chisquare(np.bincount(low, minlength=256)).pvalue > 0.001


def test_no_bit_of_a_float32_gaussian_would_pass() -> None:
    """What the test of low bits is for: the step of a float32 beyond 2σ is 256."""
    of_floats = (np.random.default_rng(0).standard_normal(10_000, np.float32) * SIGMA).astype(int)

    low = of_floats[np.abs(of_floats) > 2 * SIGMA] & 0xFF
    assert stats.chisquare(np.bincount(low, minlength=256)).pvalue < 1e-6


@pytest.mark.parametrize("bits", [0, 1, 3, 6])
def test_few_bits_have_the_exact_probabilities(bits: int) -> None:
    found = np.empty(1_000_000, np.int64)
    write_stream(found, KEY, 2, 0, least_doubt(), bits)

    reach = 4 << bits
    at = np.arange(-12 << bits, (12 << bits) + 1)
    weights = np.exp(-((at / 2**bits) ** 2) / 2)
    expected = len(found) * weights[np.abs(at) <= reach] / weights.sum()
    inside = np.abs(found) <= reach
    counts = np.bincount(found[inside] + reach, minlength=2 * reach + 1)
    outside = len(found) - expected.sum()
    figures = stats.chisquare([*counts, (~inside).sum()], [*expected, outside])
    assert figures.pvalue > 0.001


@pytest.mark.parametrize(
    ("key", "step"),
    [(bytes(32), 11), (KEY, 10), (KEY, 12), (KEY, 11 + 2**32), (KEY, 2**64 - 1)],
    ids=["key", "before", "after", "high", "last"],
)
def test_other_keys_and_steps_have_other_numbers(drawn: Integers, key: bytes, step: int) -> None:
    other = discrete_gaussian(key, step, COUNT)

    assert_correlates_with_nothing(drawn, other)
    assert (drawn == other).mean() < 1e-4


def test_streams_and_neighbours_are_independent(drawn: Integers) -> None:
    for lag in (1, BLOCK, 2 * BLOCK):
        assert_correlates_with_nothing(drawn[:-lag], drawn[lag:])
    assert len(np.unique(drawn)) > 0.99 * COUNT


def test_numbers_come_in_no_order(drawn: Integers) -> None:
    """The mean of each place of a stream, over all streams."""
    means = drawn.reshape(-1, BLOCK).mean(0) / SIGMA * np.sqrt(COUNT / BLOCK)

    assert stats.kstest(means, "norm").pvalue > 0.001
