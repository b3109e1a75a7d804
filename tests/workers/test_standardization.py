"""Mean and deviation to the last digit, and inputs standardized in float64."""

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from batchgrad_workers.data.standardization import Standardization


def exact(column: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean and deviation of a column (n,), by fractions."""
    values = [Fraction(float(x)) for x in column]
    mean = sum(values, Fraction(0)) / len(values)
    variance = sum(((x - mean) ** 2 for x in values), Fraction(0)) / len(values)
    scale = 2.0**-600 if variance and variance < Fraction(1, 2**1000) else 1.0
    scale = 2.0**400 if variance > Fraction(2**1000) else scale
    return float(mean), float(variance / Fraction(scale) ** 2) ** 0.5 * scale


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint8"])
@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_it_is_over_the_given_rows(dtype: str, chunk: int) -> None:
    inputs = np.random.default_rng(0).integers(0, 200, (20, 3)).astype(dtype)
    inputs[:, 1] = 7
    rows = np.array([0, 2, 3, 5, 8, 13, 19])

    scaling = Standardization.of(inputs, rows, chunk)
    scaled = scaling.apply(inputs[rows], "float64")

    assert scaling.mean == pytest.approx(inputs[rows].astype(float).mean(axis=0), rel=1e-14)
    assert scaling.deviation[1] == 1
    # Training rows alone have mean 0 and deviation 1; a constant number becomes 0.
    assert scaled.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-14)
    assert scaled.std(axis=0) == pytest.approx([1, 0, 1], abs=1e-14)


@pytest.mark.parametrize(
    ("dtype", "column"),
    [
        ("float16", [2048, 2050]),
        ("float16", [60000, 60000, -60000]),
        ("float16", [6e-8] + [0] * 4000),
        ("float32", [2**24, 2**24 + 2]),
        ("float32", [1e8 - 8, 1e8, 1e8 + 8]),
        ("float64", [1e8 - 1, 1e8, 1e8 + 1]),
        ("float64", [1e15 + k % 3 for k in range(10_000)]),
        ("float64", [1e200, -3e200, 2e200]),
        ("float64", [1e-200, 3e-200, 2e-200]),
        ("float64", [1e16] + [k / 7 for k in range(50)]),
        ("float64", [0.1] * 1000 + [0.1 + 1e-16]),
        ("int64", [1767225600_000000000 + 10**6 * k for k in range(60)]),
        ("uint64", [2**63, 2**63 + 4096]),
        ("int8", [-128, 127, 0]),
        ("uint8", [0, 255, 255]),
    ],
)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_no_digit_is_lost_below_the_job_s_precision(
    dtype: str, column: list[float], precision: str
) -> None:
    inputs = np.array(column).astype(dtype)[:, None]
    mean, deviation = exact(inputs[:, 0])

    scaling = Standardization.of(inputs, np.arange(len(inputs)), 1000)
    scaled = scaling.apply(inputs, precision)

    assert scaling.mean == pytest.approx([mean], rel=1e-15)
    assert scaling.deviation == pytest.approx([deviation], rel=1e-13)
    expected = (inputs[:, 0].astype(np.float64) - mean) / deviation
    assert scaled.dtype == precision
    tolerance = 1e-15 * max(1.0, abs(mean) / deviation)  # the mean itself is a float64
    assert scaled[:, 0] == pytest.approx(expected.astype(precision), rel=1e-7, abs=tolerance)


def test_integers_beyond_2_53_are_those_of_float64() -> None:
    """Two that float64 cannot tell apart are one value: a constant."""
    scaling = Standardization.of(np.array([[2**60], [2**60 + 1]]), np.arange(2))

    assert (scaling.mean.tolist(), scaling.deviation.tolist()) == ([2.0**60], [1.0])


def test_a_range_beyond_float64_is_not_finite() -> None:
    assert not Standardization.of(np.array([[1.5e308], [-1.5e308]]), np.arange(2)).is_finite
