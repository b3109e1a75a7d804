"""Gradients of a weight that is used at T positions of an example: g_n = Σ_t δ_nt a_ntᵀ.

The sum over positions comes before the square. There are two ways to ‖g_n‖² (Li et al. 2022, Bu
et al. 2022): form g_n, o·i numbers for each example, or use the two Gram matrices, T² numbers each:
‖g_n‖² = ⟨A_n A_nᵀ, Δ_n Δ_nᵀ⟩. The smaller one is used; if terms of the Gram sum cancel, which would
leave few correct digits, g_n is formed instead.
"""

from collections.abc import Callable

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.nn.chunks import chunks
from batchgrad_workers.nn.kernels import gradients as kernels
from batchgrad_workers.nn.kernels.norms import RUN, squared

Some = slice | Integers
"""A selection of examples."""


def weight_sums(inputs: Array, error: Array, weights: Array, out: Array) -> Floats:
    """Write Σ_n w_n Σ_t δ_nt a_ntᵀ (o, i) into `out`; return ‖g_n‖² (n,).

    From inputs (n, T, i) and error (n, T, o).
    """
    examples, positions, width = inputs.shape
    outputs = error.shape[2]

    each_bytes = outputs * width * inputs.itemsize

    def formed(some: Some) -> Array:
        each = np.matmul(error[some].transpose(0, 2, 1), inputs[some])
        return each.reshape(len(each), -1)

    norms = np.empty(examples)
    if 2 * positions**2 < outputs * width:
        weighted = (error * weights[:, None, None]).reshape(-1, outputs)
        np.matmul(weighted.T, inputs.reshape(-1, width), out=out)
        for run in chunks(examples, 2 * positions**2 * inputs.itemsize):
            gram_norms(inputs[None, run], error[None, run], norms[run])
        form_cancelled(norms, each_bytes, lambda some: squared(formed(some)))
        return norms
    out[...] = 0
    for run in chunks(examples, each_bytes):
        each = formed(run)
        norms[run] = squared(each)
        out += np.matmul(weights[run], each).reshape(out.shape)
    return norms


def bias_sums(error: Array, weights: Array, out: Array) -> Floats:
    """Write Σ_n w_n Σ_t δ_nt (o,) into `out`; ‖Σ_t δ_nt‖² (n,). From error (n, T, o)."""
    each = position_sums(error)
    np.matmul(weights, each, out=out)
    return squared(each)


def position_sums(rows: Array) -> Array:
    """Σ_t of rows (n, T, m), as (n, m); many positions are split in halves, to lose no digits."""
    positions = rows.shape[1]
    if positions <= RUN:
        return rows.sum(axis=1)
    half = positions // 2
    return position_sums(rows[:, :half]) + position_sums(rows[:, half:])


def gram_norms(inputs: Array, error: Array, norms: Floats) -> None:
    """Write ‖g_n‖² (n,), over all groups g, from inputs (g, n, T, i) and error (g, n, T, o).

    NaN where the sum is below √eps of (Σ_t ‖a_t‖‖δ_t‖)², which bounds its absolute terms.
    """
    gram = np.matmul(inputs, inputs.transpose(0, 1, 3, 2))
    kernels.gram_norms(gram, np.matmul(error, error.transpose(0, 1, 3, 2)), norms)


def form_cancelled(norms: Floats, each_bytes: int, form: Callable[[Integers], Floats]) -> None:
    """Replace NaN in `norms` (n,) by the result of `form`, which forms these examples' g_n."""
    cancelled = np.flatnonzero(np.isnan(norms))
    for run in chunks(len(cancelled), each_bytes):
        norms[cancelled[run]] = form(cancelled[run])
