"""Gradients of a weight that is used at T positions of an example: g_n = Σ_t δ_nt a_ntᵀ.

The sum over positions comes BEFORE squaring. ‖g_n‖² is had in two ways (Li et al. 2022, Bu et
al. 2022): by forming g_n, o·i numbers for each example, or from the two Gram matrices, T² numbers
each: ‖g_n‖² = ⟨A_n A_nᵀ, Δ_n Δ_nᵀ⟩. The smaller one is taken.
"""

import numpy as np

from batchgrad_workers.arrays import Array
from batchgrad_workers.layers.chunks import chunks


def weight_sums(inputs: Array, error: Array, weights: Array, into: Array) -> Array:
    """Write Σ_n w_n Σ_t δ_nt a_ntᵀ (o, i) into `into`; ‖g_n‖² (n,).

    From inputs (n, T, i) and error (n, T, o).
    """
    examples, positions, width = inputs.shape
    outputs = error.shape[2]
    if 2 * positions**2 < outputs * width:
        weighted = (error * weights[:, None, None]).reshape(-1, outputs)
        np.matmul(weighted.T, inputs.reshape(-1, width), out=into)
        return _by_gram(inputs, error)
    into[...] = 0
    norms = np.empty(examples, inputs.dtype)
    for run in chunks(examples, outputs * width * inputs.itemsize):
        each = np.matmul(error[run].transpose(0, 2, 1), inputs[run]).reshape(len(error[run]), -1)
        norms[run] = squared(each)
        into += np.matmul(weights[run], each).reshape(into.shape)
    return norms


def bias_sums(error: Array, weights: Array, into: Array) -> Array:
    """Write Σ_n w_n Σ_t δ_nt (o,) into `into`; ‖Σ_t δ_nt‖² (n,). From error (n, T, o)."""
    each = error.sum(axis=1)
    np.matmul(weights, each, out=into)
    return squared(each)


def squared(rows: Array) -> Array:
    """‖row‖² of every row (n, m)."""
    return np.vecdot(rows, rows)


def _by_gram(inputs: Array, error: Array) -> Array:
    examples, positions, _ = inputs.shape
    norms = np.empty(examples, inputs.dtype)
    for run in chunks(examples, 2 * positions**2 * inputs.itemsize):
        gram = np.matmul(inputs[run], inputs[run].transpose(0, 2, 1))
        gram *= np.matmul(error[run], error[run].transpose(0, 2, 1))
        norms[run] = gram.sum(axis=(1, 2))
    return norms
