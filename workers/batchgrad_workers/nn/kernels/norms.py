"""Squares and norms of vectors, right also where a square over- or underflows.

Squared norms are float64 whatever the vectors' type, so those of float32 are never out of range.
A square that its type can't hold is NaN, never 0 or infinite; `scaled_norms` is for those.
"""

from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.kernels.jit import kernel

RUN = 1 << 10
"""How many numbers are added up in their own type; the sums of those are, in float64.

A longer sum in one accumulator would lose a digit for each factor of ten.
"""


def squared(rows: Array) -> Floats:
    """‖row‖² of every row (n, m); NaN where only `scaled_norms` can tell."""
    found = np.empty(len(rows))
    squared_rows(rows, found)
    return found


def norms(rows: Array) -> Floats:
    """‖row‖ of every row (n, m); infinite only where a number is not finite."""
    found = np.sqrt(squared(rows))
    unsure = np.isnan(found)
    if unsure.any():
        found[unsure] = scaled_norms([rows[unsure]])
    return found


def norm(vector: Array) -> float:
    """‖v‖ of (m,); infinite only if a number of it is not finite."""
    return float(norms(vector[None])[0])


def least(dtype: Any) -> float:
    """Sums of squares in that type have all their digits from here on."""
    precision = np.finfo(dtype)
    return float(precision.tiny) / float(precision.eps) ** 2


def scaled_norms(parts: list[Array]) -> Floats:
    """The norms (n,) of rows that lie in `parts` (n, …), each divided by its largest number first.

    Infinite for a row with a number that is not finite; the largest float64 for one of finite
    numbers whose norm is larger than that.
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
    """‖row‖², again in float64 where its own type loses digits; NaN where that does not do."""
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
    """Of two squares; NaN where float64 can't hold it."""
    found = left * right
    if LEAST <= found < np.inf or (found == 0 and (left == 0 or right == 0)):
        return found
    return np.nan
