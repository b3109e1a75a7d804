"""Softmax cross entropy and its error, without cancellation."""

import numpy as np

from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels.jit import kernel
from batchgrad_workers.nn.kernels.norms import RUN
from batchgrad_workers.nn.special import log_softmax, softmax


@kernel("y, rest", lambda y, rest: 1 / (1 + rest) - y, in_order=True)
def error_at_largest(y: float, rest: float) -> float:
    """P - y where p = 1/(1 + r)."""
    return ((1 - y) - y * rest) / (1 + rest)


@kernel(
    "outputs (n, o), targets (n, o) -> losses (n), error (n, o)",
    lambda outputs, targets: (
        -(targets * log_softmax(outputs, axis=1)).sum(axis=1),
        softmax(outputs, axis=1) - targets,
    ),
    where={"targets": lambda targets: softmax(targets, axis=1)},
)
def softmax_cross_entropy(outputs: Array, targets: Array, losses: Array, error: Array) -> None:
    """The formulas of `losses.softmax_cross_entropy`; rows of targets sum to 1."""
    for n in range(len(outputs)):
        f, y, p = outputs[n], targets[n], error[n]
        zero = f.dtype.type(0)
        largest = f[0]
        for o in range(1, len(f)):
            largest = max(largest, f[o])
        m, picked = 0, zero
        for o in range(len(f)):
            shifted = f[o] - largest
            p[o] = np.exp(shifted)
            picked += y[o] * shifted if y[o] != 0 else zero
            m = o if shifted == 0 else m
        p[m] -= 1  # 0, or NaN
        rest = zero
        for start in range(0, len(f), RUN):
            part, found = p[start : start + RUN], zero
            for o in range(len(part)):
                found += part[o]
            rest += found
        losses[n] = np.log1p(rest) - picked
        total = 1 + rest
        for o in range(len(f)):
            p[o] = p[o] / total - y[o]
        p[m] = error_at_largest(y[m], rest)
