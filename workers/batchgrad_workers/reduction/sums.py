"""Sums of gradients over a range of microbatches, and their addition."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array

AnyFloats = TypeVar("AnyFloats", Array, npt.NDArray[np.float64])

LOSS, WEIGHT, WEIGHING = 0, 1, 2
"""Indices into `GradientSums.totals`."""


@dataclass
class GradientSums:
    """Sums over a range of microbatches.

    `gradient` (P,) is Σ w_n g_n. `totals` (3,) float64: Σ w_n ℓ_n, Σ w_n, and the number of
    microbatches whose weights are not all 0. `microbatch_means` (P,) is the sum of microbatches'
    mean gradients; `means` holds the sums of `MeansLayout`. Either is empty, (0,), if not needed.
    """

    gradient: Array
    totals: npt.NDArray[np.float64]
    microbatch_means: Array
    means: Array

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (self.gradient, self.totals, self.microbatch_means, self.means)
        return sum(array.nbytes for array in arrays)

    @staticmethod
    def join(left: "GradientSums", right: "GradientSums") -> "GradientSums":
        """Left + right, in left's memory if it is writable."""
        return GradientSums(
            add(left.gradient, right.gradient),
            add(left.totals, right.totals),
            add(left.microbatch_means, right.microbatch_means),
            add(left.means, right.means),
        )


def complete(sums: GradientSums, factor: float, *, with_microbatch_means: bool) -> None:
    """Finish the sums of one microbatch: its mean gradient, and `factor` times its weights.

    The mean gradient has the weights before, so that it does not depend on the factor.
    """
    gradient, weight = sums.gradient, sums.gradient.dtype.type(sums.totals[WEIGHT])
    sums.totals[WEIGHING] = weight > 0
    if with_microbatch_means:
        sums.microbatch_means = gradient / weight if weight else gradient.copy()
    if factor != 1.0:
        for weighted in (gradient, sums.means, sums.totals[: WEIGHT + 1]):
            np.multiply(weighted, factor, out=weighted)


def add(left: AnyFloats, right: AnyFloats) -> AnyFloats:
    """Left + right, in left's memory if it is writable (Ray's results are not)."""
    if left.flags.writeable:
        left += right
        return left
    return left + right
