"""Upper bounds of the norms of clipped gradients, which hold however sums are rounded.

A sum of m products, each rounded, is off by at most m u Σ|products| (Higham 2002, chapter 3), with
u half of eps. Where terms cancel that is more than what is left: a norm that leaves it out lets a
row count for any multiple of C. `lengths` stand for the absolute terms, Σ_t ‖a_t‖‖δ_t‖.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Shape
from batchgrad_workers.nn.chunks import CHUNK_BYTES, chunks
from batchgrad_workers.nn.kernels.norms import squared

Item = TypeVar("Item")


class Bounded(NamedTuple):
    """What a layer adds to the clipped sum of units of rows.

    `squares` (u,) are upper bounds of ‖Σ w_n g_n‖² over this layer's parameters, and of what such a
    sum adds, as `write` rounds it; NaN where float64 can't hold it or a number is not finite.
    `write(factors, out)` writes Σ_n f_n g_n, with factors (n,), into the layer's `out`.
    """

    squares: Floats
    write: Callable[[Array, Any], None]


def roundoff(dtype: Any) -> float:
    """U, half of eps."""
    return float(np.finfo(dtype).eps) / 2


def enclosed(squares: Floats, lengths: Floats, error: float) -> Floats:
    """(√squares + error · lengths)² (n,)."""
    found: Floats = np.square(np.sqrt(squares) + error * lengths)
    return found


def gram_error(inputs: Shape, error: Shape) -> float:
    """How many u of (Σ_t ‖a_t‖‖δ_t‖)² a Gram sum is off by at most.

    From the shapes (…, T, i) and (…, T, o): i + 1 and o roundings in the two matrices' numbers, and
    T + 1 in a row of their products; rows are added in float64. 6% cover products of roundings.
    """
    return 1.06 * (inputs[-1] + error[-1] + inputs[-2] + 4)


def sum_bounds(each: Array, weights: Array, rows: int) -> Floats:
    """Upper bounds of ‖Σ w_n g_n‖² (u,) from g_n (n, p), formed, of units of `rows` rows.

    Of a single row ‖g_n‖², without its weight.
    """
    if rows == 1:
        return squared(each)
    weighted = each * weights[:, None]
    lengths = np.sqrt(squared(weighted)).reshape(-1, rows).sum(axis=1)
    sums = weighted.reshape(-1, rows, each.shape[1]).sum(axis=1)
    return enclosed(squared(sums), lengths, 2 * (rows + 4) * roundoff(each.dtype))


def sums_by_unit(
    runs: Iterable[tuple[slice, Array]], weights: Array, rows: int, shape: Shape
) -> tuple[Array, Floats]:
    """Σ w_n g_n (g, u, p), of `shape`, and Σ w_n ‖g_n‖ (g, u), from runs of g_n (g, n, p)."""
    sums, lengths = np.zeros(shape, weights.dtype), np.zeros(shape[:2])
    for run, each in runs:
        owner = np.arange(run.start, run.stop) // rows
        units = slice(owner[0], owner[-1] + 1)
        share = np.zeros((units.stop - units.start, len(owner)), weights.dtype)
        share[owner - units.start, np.arange(len(owner))] = weights[run]
        sums[:, units] += share @ each
        for group, own in zip(lengths, each, strict=True):
            group[units] += share @ np.sqrt(squared(own))
    return sums, lengths


def unit_chunks(
    examples: int, rows: int, bytes_per_example: int, budget_bytes: int = CHUNK_BYTES
) -> list[slice]:
    """As `chunks`, runs of whole units of `rows` rows."""
    runs = chunks(examples // rows, rows * bytes_per_example, budget_bytes)
    return [slice(run.start * rows, run.stop * rows) for run in runs]


def repeatable(
    make: Callable[[], Iterable[Item]], size_bytes: int, *beside: Array
) -> Callable[[], Iterable[Item]]:
    """`make`, or what it makes if that is no larger than the arrays that are kept `beside` it."""
    if size_bytes > min(CHUNK_BYTES, sum(array.nbytes for array in beside)):
        return make
    kept = list(make())
    return lambda: kept
