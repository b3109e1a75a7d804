"""Gradients of a weight that is used at T positions of an example: g_n = Σ_t δ_nt a_ntᵀ.

The sum over positions comes before the square. There are two ways to ‖g_n‖² (Li et al. 2022, Bu
et al. 2022): form g_n, o·i numbers for each example, or use the two Gram matrices, T² numbers each:
‖g_n‖² = ⟨A_n A_nᵀ, Δ_n Δ_nᵀ⟩. The smaller one is used; if terms of the Gram sum cancel, which would
leave few correct digits, g_n is formed instead.

Of a unit's rows, side by side, the positions are those of one long example.
"""

from collections.abc import Callable

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.nn.chunks import chunks
from batchgrad_workers.nn.kernels.gradients import gram_sums
from batchgrad_workers.nn.kernels.norms import RUN, squared
from batchgrad_workers.nn.layers.bounds import enclosed, gram_error, roundoff

Some = slice | Integers
"""A selection of examples."""

LARGEST = {"float32": 2.0**90, "float64": 2.0**500}
"""Inputs up to which products of a factor and an error may be subnormal numbers."""


def by_gram(positions: int, outputs: int, width: int) -> bool:
    """Whether two Gram matrices have fewer numbers than g_n."""
    return 2 * positions**2 < outputs * width


def weight_sums(inputs: Array, error: Array, weights: Array, out: Array) -> Floats:
    """Write Σ_n w_n Σ_t δ_nt a_ntᵀ (o, i) into `out`; return ‖g_n‖² (n,).

    From inputs (n, T, i) and error (n, T, o).
    """
    examples, positions, width = inputs.shape
    outputs = error.shape[2]
    each_bytes = outputs * width * inputs.itemsize
    norms = np.empty(examples)
    if by_gram(positions, outputs, width):
        weighted_outer(inputs, error, weights, out)
        for run in chunks(examples, 2 * positions**2 * inputs.itemsize):
            gram_norms(inputs[None, run], error[None, run], norms[run])
        form_cancelled(norms, each_bytes, lambda some: squared(formed(inputs, error, some)))
        return norms
    out[...] = 0
    for run in chunks(examples, each_bytes):
        each = formed(inputs, error, run)
        norms[run] = squared(each)
        out += np.matmul(weights[run], each).reshape(out.shape)
    return norms


def weighted_outer(inputs: Array, error: Array, weights: Array, out: Array) -> None:
    """Write Σ_n w_n Σ_t δ_nt a_ntᵀ (o, i), one product of matrices."""
    weighted = (error * weights[:, None, None]).reshape(-1, error.shape[2])
    np.matmul(weighted.T, inputs.reshape(-1, inputs.shape[2]), out=out)


def formed(inputs: Array, error: Array, some: Some) -> Array:
    """g_n of some examples, (n, o·i)."""
    each = np.matmul(error[some].transpose(0, 2, 1), inputs[some])
    return each.reshape(len(each), -1)


def outer_bounds(inputs: Array, error: Array) -> Floats:
    """Upper bounds of ‖Σ_t δ_nt a_ntᵀ‖² (n,): see `Bounded`.

    From inputs (n, T, i) and error (n, T, o); they hold for the sums of `weighted_outer`.
    """
    examples, positions, width = inputs.shape
    outputs = error.shape[2]
    squares = np.empty(examples)
    if by_gram(positions, outputs, width):
        for run in chunks(examples, 2 * positions**2 * inputs.itemsize):
            squares[run] = gram_bounds(inputs[None, run], error[None, run])
        return squares
    for run in chunks(examples, outputs * width * inputs.itemsize):
        squares[run] = squared(formed(inputs, error, run))
    inner = squared(np.ascontiguousarray(inputs).reshape(-1, width)).reshape(examples, -1)
    inner[inner > LARGEST[inputs.dtype.name] ** 2] = np.nan
    outer = squared(np.ascontiguousarray(error).reshape(-1, outputs)).reshape(examples, -1)
    lengths = np.sqrt(inner * outer).sum(axis=1)
    return enclosed(squares, lengths, 2 * (positions + 4) * roundoff(inputs.dtype))


def bias_sums(error: Array, weights: Array, out: Array) -> Floats:
    """Write Σ_n w_n Σ_t δ_nt (o,) into `out`; ‖Σ_t δ_nt‖² (n,). From error (n, T, o)."""
    each = position_sums(error)
    np.matmul(weights, each, out=out)
    return squared(each)


def position_sums(rows: Array) -> Array:
    """Σ_t of rows (n, T, m), as (n, m); many positions are split in halves, to lose no digits."""
    positions = rows.shape[1]
    if positions == 1:
        return rows[:, 0]
    if positions <= RUN:
        return rows.sum(axis=1)
    half = positions // 2
    return position_sums(rows[:, :half]) + position_sums(rows[:, half:])


def gram_norms(inputs: Array, error: Array, norms: Floats) -> None:
    """Write ‖g_n‖² (n,), over all groups g, from inputs (g, n, T, i) and error (g, n, T, o).

    NaN where terms cancel: where the sum is below √eps of (Σ_t ‖a_t‖‖δ_t‖)², which bounds its
    absolute terms, or below 50 times its rounding, which makes norms right to 1%. Rounding is at
    most m u of the bound, and 10 √m u unless roundings agree in sign (Higham, Mary 2019).
    """
    sums, lengths = _gram_sums(inputs, error)
    rounding = 10 * np.sqrt(gram_error(inputs.shape, error.shape)) * roundoff(inputs.dtype)
    share = max(np.sqrt(2 * roundoff(inputs.dtype)), 50 * rounding)
    norms[...] = np.where(sums >= share * lengths, sums, np.nan)


def gram_bounds(inputs: Array, error: Array, unit_roundoff: float | None = None) -> Floats:
    """Upper bounds of ‖g_n‖² (n,), over all groups g, however terms cancel.

    From inputs (g, n, T, i) and error (g, n, T, o). They hold for sums of products with
    `unit_roundoff`, if None that of the arrays' type.
    """
    own = roundoff(inputs.dtype)
    sums, lengths = _gram_sums(inputs, error)
    error_bound = gram_error(inputs.shape, error.shape) * own * lengths
    squares = np.maximum(sums, 0) + error_bound
    summing = (inputs.shape[2] + 4) * (unit_roundoff or own)
    found = enclosed(squares, np.sqrt(lengths), summing)
    unsure = np.flatnonzero(np.isnan(found))
    if not len(unsure):
        return found
    a, delta = inputs[:, unsure], error[:, unsure]
    zero = ~(delta.any(axis=(0, 2, 3)) & a.any(axis=(0, 2, 3)))
    if inputs.dtype != np.float64:
        wide = a.astype(np.float64), delta.astype(np.float64)
        again = gram_bounds(*wide, unit_roundoff=own)
        large = np.abs(a).max(axis=(0, 2, 3)) > LARGEST[inputs.dtype.name]
        found[unsure] = np.where(large, np.nan, again)
    found[unsure[zero & np.isfinite(a).all(axis=(0, 2, 3))]] = 0
    return found


def _gram_sums(inputs: Array, error: Array) -> tuple[Floats, Floats]:
    sums, lengths = np.empty(inputs.shape[1]), np.empty(inputs.shape[1])
    gram = np.matmul(inputs, inputs.transpose(0, 1, 3, 2))
    gram_sums(gram, np.matmul(error, error.transpose(0, 1, 3, 2)), sums, lengths)
    return sums, lengths


def form_cancelled(norms: Floats, each_bytes: int, form: Callable[[Integers], Floats]) -> None:
    """Replace NaN in `norms` (n,) by the result of `form`, which forms these examples' g_n."""
    cancelled = np.flatnonzero(np.isnan(norms))
    for run in chunks(len(cancelled), each_bytes):
        norms[cancelled[run]] = form(cancelled[run])
