"""ReLU and its derivative."""

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
