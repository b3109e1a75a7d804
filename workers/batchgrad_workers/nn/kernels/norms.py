"""Squares and norms of vectors, also if a square overflows or underflows.

Squared norms are always float64, so those of float32 vectors are in range. A square that float64
can't hold is NaN, never 0 or infinite; use `scaled_norms` for these.
"""

from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.kernels.jit import kernel

RUN = 1 << 10
"""Most numbers that are added in their own type; sums of such runs are added in float64.

A longer sum in one accumulator loses a digit for each factor of ten.
"""


def squared(rows: Array) -> Floats:
    """‖row‖² of every row (n, m); NaN if it needs `scaled_norms`."""
    found = np.empty(len(rows))
    squared_rows(rows, found)
    return found


def norms(rows: Array) -> Floats:
    """‖row‖ of every row (n, m); infinite only if a number is not finite."""
    found = np.sqrt(squared(rows))
    unsure = np.isnan(found)
    if unsure.any():
        found[unsure] = scaled_norms([rows[unsure]])
    return found


def norm(vector: Array) -> float:
    """‖v‖ of (m,); infinite only if one of its numbers is not finite."""
    return float(norms(vector[None])[0])


def least(dtype: Any) -> float:
    """The least sum of squares in `dtype` that has all its digits."""
    precision = np.finfo(dtype)
    return float(precision.tiny) / float(precision.eps) ** 2


def scaled_norms(parts: list[Array]) -> Floats:
    """‖row‖ (n,) of rows split into `parts` (n, …), each first divided by its largest number.

    Infinite for a row with a number that is not finite; at most the largest float64 for other rows.
    """
    rows = [part.reshape(len(part), -1).astype(np.float64) for part in parts]
    sizes = [np.abs(part).max(axis=1, initial=0.0) for part in rows]
    largest: Floats = np.max(sizes, axis=0)
    with np.errstate(over="ignore"):
        bad, divisor = ~np.isfinite(largest), np.where(largest > 0, largest, 1.0)[:, None]
        divisor[bad] = 1.0
        found = largest * np.sqrt(sum(np.square(part / divisor).sum(axis=1) for part in rows))
    found = np.minimum(found, np.finfo(np.float64).max)
    found[bad] = np.inf
    return found


LEAST = least(np.float64)


@kernel("rows (n, m) -> found (n)", lambda rows: np.square(rows).sum(axis=1))
def squared_rows(rows: Array, found: Floats) -> None:
    """‖row‖² of every row, by `square`."""
    for n in range(len(rows)):
        found[n] = square(rows[n])


@kernel("row (m)", lambda row: np.square(row).sum())
def square(row: Array) -> float:
    """‖row‖², in float64 if the row's own type loses digits; NaN if float64 does as well."""
    least = np.float64(np.finfo(row.dtype).tiny) / np.finfo(row.dtype).eps ** 2
    total = 0.0
    for start in range(0, len(row), RUN):
        part = row[start : start + RUN]
        found = row.dtype.type(0)
        for p in range(len(part)):
            found += part[p] * part[p]
        total += np.float64(found)
    if least <= total < np.inf:
        return total
    total, zero = 0.0, True
    for p in range(len(row)):
        exact = np.float64(row[p])
        total += exact * exact
        zero = zero and row[p] == 0
    if zero or LEAST <= total < np.inf:
        return total
    return np.nan


@kernel("left, right", lambda left, right: left * right)
def product(left: float, right: float) -> float:
    """The product of two squares; NaN if float64 can't hold it."""
    found = left * right
    if LEAST <= found < np.inf or (found == 0 and (left == 0 or right == 0)):
        return found
    return np.nan
