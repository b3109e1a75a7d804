"""Discrete Gaussian numbers from a key: integers z with P(z) ∝ exp(-z²/2σ²), σ = 2³⁰."""

import numpy as np
import numpy.typing as npt

from batchgrad_workers.privacy.chacha import words
from batchgrad_workers.trainable import Run

SIGMA_BITS = 30
"""σ = 2^SIGMA_BITS."""

_TABLE = np.cumsum(np.exp(-np.square(np.arange(16.0)) / 2))


def discrete_gaussian(
    key: bytes, step: int, count: int, run: Run | None = None
) -> npt.NDArray[np.int64]:
    """`count` numbers of a step (Karney 2016, algorithm D): ± (k σ + j), accepted by chance."""
    del run
    found: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    have, stream = 0, 0
    while have < count:
        drawn = words(key, step, stream, 3 * 16384).reshape(3, -1)
        k = np.searchsorted(_TABLE / _TABLE[-1], drawn[0] * 2.0**-64, side="right")
        j = (drawn[1] >> np.uint64(34)).astype(np.int64)
        negative = (drawn[1] & np.uint64(1)) == 1
        x = j * 2.0**-SIGMA_BITS
        accepted = drawn[2] * 2.0**-64 < np.exp(-x * (2 * k + x) / 2)
        accepted &= ~(negative & (k == 0) & (j == 0))
        z = np.where(negative, -1, 1) * ((k.astype(np.int64) << SIGMA_BITS) + j)
        found.append(z[accepted])
        have, stream = have + int(accepted.sum()), stream + 1
    return np.concatenate(found)[:count]
