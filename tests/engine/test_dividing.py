"""G and ‖G‖² from a sum, against long double."""

from typing import Any

import numpy as np
import pytest

from batchgrad_service.engine.blocks import BLOCK, THREADED
from batchgrad_service.engine.dividing import RUN, mean
from batchgrad_workers.threads import ThreadTeam

ALONE = ThreadTeam(1)


@pytest.mark.parametrize("size", [1, 5, RUN, RUN + 1, BLOCK, BLOCK + 17])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_mean_and_its_square(size: int, dtype: Any, tolerance: float) -> None:
    total = np.random.default_rng(size).normal(size=size).astype(dtype)
    before = total.copy()
    gradient, squared = mean(total, 3.0, ALONE)
    np.testing.assert_array_equal(gradient, total / dtype(3))
    exact = gradient.astype(np.longdouble)
    assert squared == pytest.approx(float(exact @ exact), rel=tolerance)
    np.testing.assert_array_equal(total, before)


def test_no_weight_divides_by_nothing() -> None:
    total = np.zeros(4, np.float32)
    gradient, squared = mean(total, 0.0, ALONE)
    assert (gradient.tolist(), squared) == ([0.0] * 4, 0.0)


@pytest.mark.parametrize("strange", [np.inf, -np.inf, np.nan, 1e30])
def test_what_is_not_finite_shows_in_the_square(strange: float) -> None:
    total = np.ones(RUN + 3, np.float32)
    total[RUN + 1] = strange
    assert not np.isfinite(mean(total, 1e-20, ALONE)[1])


def test_same_bits_on_threads_and_from_memory_that_is_read_only() -> None:
    total = np.random.default_rng(2).normal(size=THREADED + BLOCK + 3).astype(np.float32)
    alone, squared = mean(total, 7.0, ALONE)
    total.flags.writeable = False
    with ThreadTeam(3) as team:
        shared, the_same = mean(total, 7.0, team)
    assert alone.tobytes() == shared.tobytes()
    assert squared == the_same
