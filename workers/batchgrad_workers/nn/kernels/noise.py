"""Addition of integer noise to a sum."""

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.nn.kernels.jit import kernel
from batchgrad_workers.nn.kernels.norms import RUN, square

MOST = 2.0**62
"""Sums are cut to this many grains, which no sensible job reaches."""


def _noisy(total: Array, noise: Integers, grain: float, divisor: float) -> Array:
    grains = np.rint(np.clip(total.astype(np.float64) / grain, -MOST, MOST)).astype(np.int64)
    found: Array = ((grains + noise) * (grain / divisor)).astype(total.dtype)
    return found


@kernel(
    "total (p), noise (p), grain, divisor -> mean (p), squares (1)",
    lambda total, noise, grain, divisor, squares: (
        _noisy(total, noise, grain, divisor),
        squares + np.square(_noisy(total, noise, grain, divisor)).sum(),
    ),
    where={
        "noise": lambda noise: np.rint(100 * noise).astype(np.int64),
        "grain": lambda grain: np.abs(grain) + 0.1,
    },
    in_order=True,
)
def noisy_mean(
    total: Array, noise: Integers, grain: float, divisor: float, mean: Array, squares: Floats
) -> None:
    """Write g (round(S/g) + Z) / N, and add its squared norm to `squares`."""
    for start in range(0, len(total), RUN):
        part, own, run = (
            total[start : start + RUN],
            noise[start : start + RUN],
            mean[start : start + RUN],
        )
        for p in range(len(part)):
            grains = np.rint(min(max(np.float64(part[p]) / grain, -MOST), MOST))
            run[p] = run.dtype.type((np.int64(grains) + own[p]) * (grain / divisor))
        squares[0] += square(run)
