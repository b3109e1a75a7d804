"""Division of a sum by its weight, and standardization of inputs."""

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


@kernel(
    "inputs (n, i), mean (i), deviation (i) -> out (n, i)",
    lambda inputs, mean, deviation: (inputs - mean) / deviation,
    where={"deviation": lambda deviation: np.exp(deviation)},
)
def standardize(inputs: Array, mean: Floats, deviation: Floats, out: Array) -> None:
    """(x - mean) / deviation, in float64, then rounded to the type of `out`."""
    for n in range(inputs.shape[0]):
        for i in range(inputs.shape[1]):
            out[n, i] = (inputs[n, i] - mean[i]) / deviation[i]
