"""G and ‖G‖ from a sum, against long double."""

from typing import Any

import numpy as np
import pytest

from batchgrad_engine.vectors import BLOCK, THREADED, mean
from batchgrad_workers.nn.kernels.division import divide
from batchgrad_workers.nn.kernels.norms import RUN
from batchgrad_workers.runtime.threads import ThreadPool

ALONE = ThreadPool(1)


@pytest.mark.parametrize("size", [1, 5, RUN, RUN + 1, BLOCK, BLOCK + 17])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_mean_and_its_norm(size: int, dtype: Any, tolerance: float) -> None:
    total = np.random.default_rng(size).normal(size=size).astype(dtype)
    before = total.copy()
    gradient, norm = mean(total, 3.0, ALONE)
    np.testing.assert_array_equal(gradient, total / dtype(3))
    exact = gradient.astype(np.longdouble)
    assert norm == pytest.approx(float(np.sqrt(exact @ exact)), rel=tolerance)
    np.testing.assert_array_equal(total, before)


def test_no_weight_divides_by_nothing() -> None:
    total = np.zeros(4, np.float32)
    gradient, norm = mean(total, 0.0, ALONE)
    assert (gradient.tolist(), norm) == ([0.0] * 4, 0.0)


@pytest.mark.parametrize("size", [9, 33, 130, RUN + 7])
def test_the_norm_has_one_set_of_bits_wherever_arrays_lie(size: int) -> None:
    """A loop that added up while it wrote took vectors only where the two lay far apart."""
    total = np.random.default_rng(size).normal(size=size).astype(np.float32)
    found = set()
    for gap in (0, 1, 3, 8, 64, 500):
        memory = np.empty(2 * size + gap, np.float32)
        for source, out in ((memory[:size], memory[size + gap :]), (memory[-size:], memory)):
            source[:] = total
            squares = np.zeros(1)
            divide(source, 3.0, out[:size], squares)
            found.add(squares[0])
    assert len(found) == 1


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(np.float32, 1e-25), (np.float32, 1e30), (np.float64, 1e-200), (np.float64, 1e250)],
)
def test_the_norm_where_squares_leave_their_range(dtype: Any, size: float) -> None:
    total = (np.random.default_rng(1).normal(size=BLOCK + 9) * size).astype(dtype)
    gradient, norm = mean(total, 2.0, ALONE)
    right = np.linalg.norm(gradient.astype(np.longdouble))
    assert norm == pytest.approx(float(right), rel=1e-6, abs=0)


@pytest.mark.parametrize("strange", [np.inf, -np.inf, np.nan, 1e30])
def test_what_is_not_finite_shows_in_the_norm(strange: float) -> None:
    total = np.ones(RUN + 3, np.float32)
    total[RUN + 1] = strange
    assert not np.isfinite(mean(total, 1e-20, ALONE)[1])


def test_same_bits_on_threads_and_from_memory_that_is_read_only() -> None:
    total = np.random.default_rng(2).normal(size=THREADED + BLOCK + 3).astype(np.float32)
    alone, norm = mean(total, 7.0, ALONE)
    total.flags.writeable = False
    with ThreadPool(3) as pool:
        shared, the_same = mean(total, 7.0, pool)
    assert alone.tobytes() == shared.tobytes()
    assert norm == the_same
