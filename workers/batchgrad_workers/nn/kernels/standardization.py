"""Standardization of inputs."""

import numpy as np

from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.kernels.jit import kernel


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
