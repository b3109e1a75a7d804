"""Work on long vectors in blocks that threads share; the mean gradient from the sum, and its norm.

Blocks never depend on threads, so the bits of sums don't either.
"""

from collections.abc import Callable
from math import isnan, sqrt

import numpy as np

from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels.norms import norm
from batchgrad_workers.nn.kernels.scaling import divide
from batchgrad_workers.runtime.threads import ThreadPool

BLOCK = 1 << 16
"""Numbers in a block."""

THREADED = 1 << 20
"""How many numbers there have to be for threads to gain more than it costs to wake them."""


def parallel_for(
    pool: ThreadPool, size: int, work: Callable[[slice], None], *, numbers: int = 1
) -> None:
    """Call `work` for every block of `size` items, once, in any order; each has `numbers`."""
    step = max(1, BLOCK // numbers)
    if size * numbers >= THREADED:
        blocks = range(-(-size // step))
        pool.run(blocks, lambda k: work(slice(k * step, min((k + 1) * step, size))))
        return
    for start in range(0, size, step):
        work(slice(start, min(start + step, size)))


def mean(total: Array, weight: float, pool: ThreadPool) -> tuple[Array, float]:
    """G (P,) from Σ w_n g_n = `total` (P,), of examples that weigh `weight` (0: as 1); and ‖G‖.

    In one pass; `total` is left as it is. The norm is infinite only if a number of G is not finite.
    """
    divisor = weight or 1.0
    gradient = np.empty_like(total)
    squares = np.zeros(-(-len(total) // BLOCK))

    def work(block: slice) -> None:
        divide(total[block], divisor, gradient[block], squares[block.start // BLOCK :])

    parallel_for(pool, len(total), work)
    found = sum(squares.tolist())
    return gradient, norm(gradient) if isnan(found) else sqrt(found)
