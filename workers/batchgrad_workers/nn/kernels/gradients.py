"""Sums over examples, and norms of per-example gradients from their factors.

n example · t position · g group · i input · o output · a input · δ error.
"""

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.kernels.activations import relu_vjp_in_place
from batchgrad_workers.nn.kernels.jit import kernel
from batchgrad_workers.nn.kernels.norms import RUN, product, square


def _linear_norms(inputs: Array, error: Array, bias: bool, norms: Floats) -> Floats:
    return norms + np.vecdot(error, error) * (np.vecdot(inputs, inputs) + bias)


@kernel(
    "a (i), delta (o), bias",
    lambda a, delta, bias: (
        np.vecdot(delta, delta) * (np.vecdot(a, a) + bias)
        if max(a.size, delta.size) <= RUN
        else np.nan
    ),
    where={"a": lambda a: np.abs(a) + 1, "delta": lambda delta: np.abs(delta) + 1},
)
def quick_norm(a: Array, delta: Array, bias: bool) -> float:
    """‖δ‖² (‖a‖² + bias) of short vectors; NaN if a sum might lose digits in their own type."""
    least = np.float64(np.finfo(a.dtype).tiny) / np.finfo(a.dtype).eps ** 2
    if len(a) > RUN or len(delta) > RUN:
        return np.nan
    errors = squares = a.dtype.type(0)
    for o in range(len(delta)):
        errors += delta[o] * delta[o]
    for i in range(len(a)):
        squares += a[i] * a[i]
    found = np.float64(errors) * (np.float64(squares) + bias)
    sure = least <= errors and least <= squares and least <= found < np.inf
    return found if sure else np.nan


def _half_known(inputs: Array, error: Array, bias: bool) -> Floats:
    own = _linear_norms(inputs, error, bias, np.zeros(len(error)))
    own[::2] = np.nan
    return own


@kernel(
    "inputs (n, i), error (n, o), bias, own (n) -> norms (n)",
    lambda inputs, error, bias, norms: _linear_norms(inputs, error, bias, norms),
    where={"own": _half_known},
)
def add_norms(inputs: Array, error: Array, bias: bool, own: Floats, norms: Floats) -> None:
    """Add ‖g_n‖² to the norms; where `own` is NaN, compute it with all care."""
    for n in range(len(error)):  # apart from the loop over rows, which is faster without calls
        found = own[n]
        if np.isnan(found):
            found = product(square(error[n]), square(inputs[n]) + bias)
        norms[n] += found


@kernel("inputs (n, i), error (n, o), bias -> norms (n)", _linear_norms)
def linear_norms(inputs: Array, error: Array, bias: bool, norms: Floats) -> None:
    """‖δ_n‖² (‖a_n‖² + bias), added to the norms (Goodfellow 2015)."""
    own = np.empty(len(error))
    for n in range(len(error)):
        own[n] = quick_norm(inputs[n], error[n], bias)
    add_norms(inputs, error, bias, own, norms)


def _linear_sums(
    inputs: Array, active: Array, weights: Array, bias: bool, error: Array, norms: Floats
) -> tuple[Array, ...]:
    error = error * (active > 0)
    return (
        error,
        weights[:, None] * error,
        _linear_norms(inputs, error, bias, norms),
        weights @ error,
        weights @ inputs,
    )


@kernel(
    "inputs (n, i), active (n, o), weights (n), bias"
    " -> error (n, o), weighted (n, o), norms (n), error_sum (o), input_sum (i)",
    _linear_sums,
)
def linear_sums(
    inputs: Array,
    active: Array,
    weights: Array,
    bias: bool,
    error: Array,
    weighted: Array,
    norms: Floats,
    error_sum: Array,
    input_sum: Array,
) -> None:
    """Set δ to 0 where `active` is not positive; write w_n δ_n and the sums; add to the norms.

    Each row goes through all of it while it is in the nearest cache. If `active` is empty, δ stays;
    empty `weighted` and `input_sum` are not written.
    """
    own = np.empty(len(error))
    error_sum[:] = 0
    input_sum[:] = 0
    for n in range(len(error)):
        a, delta, weight = inputs[n], error[n], weights[n]
        if len(active):
            relu_vjp_in_place(active[n], delta)
        own[n] = quick_norm(a, delta, bias)
        for o in range(len(delta)):
            error_sum[o] += weight * delta[o]
        for i in range(len(input_sum)):
            input_sum[i] += weight * a[i]
        if len(weighted):
            row = weighted[n]
            for o in range(len(delta)):
                row[o] = weight * delta[o]
    add_norms(inputs, error, bias, own, norms)


def _gram_of_positive(rows: Array) -> Array:
    """Of vectors between which no product cancels."""
    positive = np.abs(rows) + 1
    return positive @ positive.swapaxes(-1, -2)


def _lengths(inputs: Array, error: Array) -> Floats:
    """Σ_g (Σ_t ‖a_t‖‖δ_t‖)² (n,), from the diagonals of Gram matrices (g, n, t, t)."""
    products = np.einsum("gntt,gntt->gnt", inputs, error)
    return np.square(np.sqrt(products).sum(axis=2)).sum(axis=0)


@kernel(
    "inputs (g, n, t, t), error (g, n, t, t) -> sums (n), lengths (n)",
    lambda inputs, error: (
        np.einsum("gnts,gnts->n", inputs, error),
        _lengths(inputs, error),
    ),
    where={
        "inputs": lambda inputs: _gram_of_positive(inputs),
        "error": lambda error: _gram_of_positive(error),
    },
)
def gram_sums(inputs: Array, error: Array, sums: Floats, lengths: Floats) -> None:
    """⟨A_n A_nᵀ, Δ_n Δ_nᵀ⟩ = ‖g_n‖² and Σ_g (Σ_t ‖a_t‖‖δ_t‖)², from Gram matrices.

    The second bounds the absolute terms of the first. NaN where a square is out of range.
    """
    eps = np.float64(np.finfo(inputs.dtype).eps)
    least = np.float64(np.finfo(inputs.dtype).tiny) / eps**2
    groups, examples, positions, _ = inputs.shape
    for n in range(examples):
        total = bound = largest = 0.0
        for g in range(groups):
            own = 0.0
            for t in range(positions):
                a, delta = inputs[g, n, t], error[g, n, t]
                found = a.dtype.type(0)
                for s in range(positions):
                    found += a[s] * delta[s]
                total += found
                own += np.sqrt(np.float64(a[t]) * np.float64(delta[t]))
                largest = max(largest, np.float64(a[t]), np.float64(delta[t]))
            bound += own * own
        sure = least * max(largest, 1.0) <= bound < np.inf and -np.inf < total < np.inf
        sums[n] = total if sure else np.nan
        lengths[n] = bound if sure else np.nan


@kernel(
    "losses (n), weights (n) -> squares (n), totals (3)",
    lambda losses, weights, squares, totals: (
        np.sqrt(squares),
        totals + np.array([weights @ losses, weights.sum(), 0]),
        bool((np.sqrt(squares) <= np.finfo(losses.dtype).max).all()),
    ),
    where={"squares": lambda squares: np.square(squares)},
)
def totals_and_norms(
    losses: Array, weights: Array, squares: Floats, totals: npt.NDArray[np.float64]
) -> bool:
    """Add Σ w_n ℓ_n and Σ w_n to the totals; squares become norms. True if all norms are sure.

    A norm beyond the largest number of its type may be of a gradient that overflows.
    """
    sure, most = True, np.finfo(losses.dtype).max
    for n in range(len(losses)):
        weight = np.float64(weights[n])
        totals[0] += weight * losses[n]
        totals[1] += weight
        squares[n] = np.sqrt(squares[n])
        sure = sure and squares[n] <= most
    return sure
