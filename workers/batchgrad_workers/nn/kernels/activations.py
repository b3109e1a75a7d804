"""ReLU and its derivative, and what else follows a linear layer's product in the same pass."""

import numpy as np

from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels.jit import kernel


@kernel("a (n) -> z (n)", lambda a: np.maximum(a, 0))
def relu(a: Array, z: Array) -> None:
    """Z = max(a, 0)."""
    for k in range(len(a)):
        z[k] = a[k]
        if a[k] <= 0:  # NaN stays
            z[k] = 0


@kernel("delta (n), a (n) -> below (n)", lambda delta, a: delta * (a > 0))
def relu_vjp(delta: Array, a: Array, below: Array) -> None:
    """δ where a > 0, else 0."""
    for k in range(len(a)):
        below[k] = delta[k] if a[k] > 0 else 0


@kernel("a (n) -> delta (n)", lambda a, delta: delta * (a > 0))
def relu_vjp_in_place(a: Array, delta: Array) -> None:
    """As `relu_vjp`, in place of δ: given δ twice, `relu_vjp` goes number by number."""
    zero = delta.dtype.type(0)
    for k in range(len(a)):
        delta[k] = delta[k] if a[k] > 0 else zero


@kernel(
    "bias (o), apply_relu, weights (n) -> z (n, o), sums (o)",
    lambda z, bias, apply_relu, weights, sums: (
        np.maximum(z + bias, 0) if apply_relu else z + bias,
        sums + weights @ (z + bias),
    ),
)
def add_bias(bias: Array, apply_relu: bool, weights: Array, z: Array, sums: Array) -> None:
    """Add the bias to z, then Σ_n w_n z_n to the sums, then apply ReLU; empty sums are left out.

    ReLU goes together with the addition: alone, it would write only the numbers that change, which
    takes AMD's processors four times as long.
    """
    zero = z.dtype.type(0)
    for n in range(len(z)):
        row, weight = z[n], weights[n]
        for o in range(len(sums)):
            sums[o] += weight * (row[o] + bias[o])
        if apply_relu:
            for o in range(len(bias)):
                added = row[o] + bias[o]
                row[o] = zero if added <= 0 else added  # NaN stays
        else:
            for o in range(len(bias)):
                row[o] += bias[o]
