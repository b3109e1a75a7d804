"""Where sums become means: G = Σ w_n g_n / Σ w_n, and how long it is."""

from math import isnan, sqrt

import numpy as np

from batchgrad_service.engine.blocks import BLOCK, over
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.compiling import compiled
from batchgrad_workers.norms import RUN, norm, square
from batchgrad_workers.threads import ThreadTeam


def mean(total: Array, weight: float, team: ThreadTeam) -> tuple[Array, float]:
    """G (P,) from Σ w_n g_n = `total` (P,), of examples that weigh `weight` (0: as 1); and ‖G‖.

    In one pass; `total` is left as it is. The norm is infinite only if a number of G is not finite.
    """
    divisor = weight or 1.0
    gradient = np.empty_like(total)
    squares = np.zeros(-(-len(total) // BLOCK))

    def work(block: slice) -> None:
        _divide(total[block], divisor, gradient[block], squares[block.start // BLOCK :])

    over(team, len(total), work)
    found = sum(squares.tolist())
    return gradient, norm(gradient) if isnan(found) else sqrt(found)


@compiled
def _divide(total: Array, weight: float, into: Array, squares: Floats) -> None:
    divisor = into.dtype.type(weight)
    for start in range(0, len(total), RUN):
        part, quotients = total[start : start + RUN], into[start : start + RUN]
        for p in range(len(part)):
            quotients[p] = part[p] / divisor
        squares[0] += square(quotients)
