"""Dropout: which numbers of an example are dropped, from a key of the example."""

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Keys
from batchgrad_workers.nn.kernels.jit import kernel
from batchgrad_workers.randomness import FIRST, SECOND, STEP, mixed


def _kept(keys: Keys, width: int, p: float) -> npt.NDArray[np.bool_]:
    counters = np.arange(1, width + 1, dtype=np.uint64) * STEP
    return (mixed(keys[:, None] + counters) >> np.uint64(11)) * 2.0**-53 >= p


@kernel(
    "inputs (n, i), keys (n), p, scale -> out (n, i)",
    lambda inputs, keys, p, scale: np.where(
        _kept(keys, inputs.shape[1], p), inputs * scale, inputs.dtype.type(0)
    ),
    where={"keys": lambda inputs: mixed(np.arange(len(inputs), dtype=np.uint64))},
)
def drop(inputs: Array, keys: Keys, p: float, scale: float, out: Array) -> None:
    """Number i of example n is 0 with probability p, else a_ni · scale."""
    least = np.uint64(np.ceil(p * 2.0**53))
    for n in range(len(inputs)):
        counter = keys[n]
        for i in range(inputs.shape[1]):
            counter += STEP
            z = (counter ^ (counter >> np.uint64(30))) * FIRST
            z = (z ^ (z >> np.uint64(27))) * SECOND
            z ^= z >> np.uint64(31)
            out[n, i] = inputs[n, i] * scale if (z >> np.uint64(11)) >= least else 0
