"""Long vectors: a parallel loop over their blocks; the mean gradient from the sum, and its norm.

Blocks do not depend on the number of threads, so the bits of sums do not either.
"""

from collections.abc import Callable
from math import isnan, sqrt

import numpy as np

from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels.division import divide
from batchgrad_workers.nn.kernels.norms import norm
from batchgrad_workers.runtime.threads import ThreadPool

BLOCK = 1 << 16
"""Numbers in a block."""

THREADED = 1 << 20
"""Numbers from which on threads gain more than it costs to wake them."""


def parallel_for(
    pool: ThreadPool, size: int, work: Callable[[slice], None], *, numbers: int = 1
) -> None:
    """Call `work` once for every block of range(size), in any order and on any thread.

    `numbers` is how many numbers each of the `size` items stands for; a block has about BLOCK.
    """
    step = max(1, BLOCK // numbers)
    if size * numbers >= THREADED:
        blocks = range(-(-size // step))
        pool.run(blocks, lambda k: work(slice(k * step, min((k + 1) * step, size))))
        return
    for start in range(0, size, step):
        work(slice(start, min(start + step, size)))


def mean(total: Array, weight: float, pool: ThreadPool) -> tuple[Array, float]:
    """G (P,) = Σ w_n g_n / Σ w_n, from `total` (P,) and `weight`, and ‖G‖, in one pass.

    A `weight` of 0 divides by 1. The norm is infinite only if a number of G is not finite.
    """
    divisor = weight or 1.0
    gradient = np.empty_like(total)
    squares = np.zeros(-(-len(total) // BLOCK))

    def work(block: slice) -> None:
        divide(total[block], divisor, gradient[block], squares[block.start // BLOCK :])

    parallel_for(pool, len(total), work)
    found = sum(squares.tolist())
    return gradient, norm(gradient) if isnan(found) else sqrt(found)
