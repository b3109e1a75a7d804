"""Figures that steps and answers share, at their edges."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgrad_engine.measurement.comparison import agreement
from batchgrad_engine.measurement.statistics import (
    NoiseScale,
    SmoothedNoise,
    largest,
    noise_scale,
    quantiles,
)


def test_agreement_by_hand() -> None:
    figures = agreement(np.array([3.0, 4.0]), np.array([3.0, 0.0]))

    assert figures["relative_error"] == pytest.approx(4 / 5)
    assert figures["cosine_similarity"] == pytest.approx(3 / 5)
    assert figures["norm_ratio"] == pytest.approx(3 / 5)


def test_a_shortcut_that_is_zero_is_wholly_wrong_and_points_nowhere() -> None:
    figures = agreement(np.array([3.0, 4.0]), np.zeros(2))

    assert (figures["relative_error"], figures["norm_ratio"]) == (1, 0)
    assert isnan(figures["cosine_similarity"])


def test_a_cosine_never_leaves_its_range() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        vector = random.normal(size=3).astype(np.float32)
        for sign in (1, -1):
            cosine = agreement(vector, np.float32(sign * 3) * vector)["cosine_similarity"]
            assert -1 <= cosine <= 1


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(np.float32, 1e-25), (np.float32, 1e25), (np.float64, 1e-200), (np.float64, 1e200)],
)
def test_agreement_of_tiny_and_huge_gradients(dtype: type, size: float) -> None:
    exact, shortcut = np.random.default_rng(0).normal(size=(2, 3000))
    right = agreement(exact, shortcut)

    found = agreement((exact * size).astype(dtype), (shortcut * size).astype(dtype))

    assert found == pytest.approx(right, rel=1e-6)


def test_a_norm_that_is_no_number_leaves_the_others_in_place() -> None:
    norms = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]])

    found = largest(np.array([[4, 5, 6], [7, 8, 9]]), norms, np.sort(norms, axis=1), 2)

    assert [each["example"][0] for each in found] == [6, 5]
    assert [len(each["norm"]) for each in found] == [2, 2]


def test_the_noise_of_equal_gradients_is_never_negative() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        norm = float(random.uniform(0, 2))
        noise = noise_scale(np.full(7, norm), np.ones(7), np.nextafter(norm, 3))
        assert noise.trace is not None
        assert noise.trace >= 0


def test_noise_beyond_float64_is_undetermined_and_leaves_the_smoothed_one() -> None:
    huge = noise_scale(np.array([1e200, 2e200]), np.ones(2), 1e200)
    smoothed = SmoothedNoise()

    assert huge == NoiseScale(None, None, None)
    assert smoothed.add(NoiseScale(3.0, 1.0, 3.0)) == smoothed.add(huge)


def test_quantiles_of_norms() -> None:
    found = quantiles(np.stack([np.arange(101.0), np.full(101, 7.0)]))

    assert found == {
        "min": (0, 7), "p10": (10, 7), "p50": (50, 7), "p90": (90, 7), "p99": (99, 7),
        "max": (100, 7),
    }  # fmt: skip
    assert quantiles(np.empty((1, 0))) == {}


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**32))
def test_the_largest_norms_come_first_and_ties_by_number(steps: int, n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    ids = np.stack([random.permutation(100)[:n] for _ in range(steps)])
    norms = random.integers(0, 4, (steps, n)).astype(np.float32)

    found = largest(ids, norms, np.sort(norms, axis=1), 5)

    for step, (examples, sizes) in enumerate(zip(ids, norms, strict=True)):
        order = sorted(range(n), key=lambda k: (-sizes[k], examples[k]))[:5]
        assert [each["example"][step] for each in found] == [examples[k] for k in order]
        assert [each["norm"][step] for each in found] == [sizes[k] for k in order]
    assert largest(np.empty((1, 0), int), np.empty((1, 0)), np.empty((1, 0))) == []
