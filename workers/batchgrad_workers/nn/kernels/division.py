"""Division of a sum by its weight."""

import numpy as np

from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.kernels.jit import kernel
from batchgrad_workers.nn.kernels.norms import RUN, square


@kernel(
    "total (p), weight -> quotients (p), squares (1)",
    lambda total, weight, squares: (
        total / weight,
        squares + np.square(total / weight).sum(),
    ),
)
def divide(total: Array, weight: float, quotients: Array, squares: Floats) -> None:
    """Write the quotients and add their squared norm to `squares`."""
    divisor = quotients.dtype.type(weight)
    for start in range(0, len(total), RUN):
        part, run = total[start : start + RUN], quotients[start : start + RUN]
        for p in range(len(part)):
            run[p] = part[p] / divisor
        squares[0] += square(run)
