"""Figures that steps and answers share, at their edges."""

import numpy as np
import pytest

from batchgrad_service.engine.comparison import agreement
from batchgrad_service.engine.statistics import largest, quantiles


def test_agreement_by_hand() -> None:
    figures = agreement(np.array([3.0, 4.0]), np.array([3.0, 0.0]))

    assert figures.relative_error == pytest.approx(4 / 5)
    assert figures.cosine_similarity == pytest.approx(3 / 5)
    assert figures.norm_ratio == pytest.approx(3 / 5)


def test_a_shortcut_that_is_zero_is_wholly_wrong_and_points_nowhere() -> None:
    figures = agreement(np.array([3.0, 4.0]), np.zeros(2))

    assert (figures.relative_error, figures.cosine_similarity, figures.norm_ratio) == (1, None, 0)


def test_a_cosine_never_leaves_its_range() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        vector = random.normal(size=3).astype(np.float32)
        for sign in (1, -1):
            cosine = agreement(vector, np.float32(sign * 3) * vector).cosine_similarity
            assert cosine is not None
            assert -1 <= cosine <= 1


def test_quantiles_of_norms() -> None:
    found = quantiles(np.arange(101.0))

    assert found == {"min": 0, "p10": 10, "p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert quantiles(np.empty(0)) == {}


def test_the_largest_norms_come_first_and_ties_by_number() -> None:
    ids, norms = np.array([40, 10, 30, 20]), np.array([1.0, 5.0, 7.0, 5.0])

    assert largest(ids, norms, 3) == [(30, 7.0), (10, 5.0), (20, 5.0)]
    assert len(largest(ids, norms)) == 4
