"""Where sums become means: G = Σ w_n g_n / Σ w_n, and how long it is."""

import numpy as np
import numpy.typing as npt

from batchgrad_service.engine.blocks import BLOCK, over
from batchgrad_workers.arrays import Array
from batchgrad_workers.compiling import compiled
from batchgrad_workers.threads import ThreadTeam

RUN = 1 << 10
"""How many squares are added up in their own type; the sums of those are, in float64."""


def mean(total: Array, weight: float, team: ThreadTeam) -> tuple[Array, float]:
    """G (P,) from Σ w_n g_n = `total` (P,), of examples that weigh `weight` (0: as 1); and ‖G‖².

    In one pass; `total` is left as it is.
    """
    divisor = weight or 1.0
    gradient = np.empty_like(total)
    squares = np.zeros(-(-len(total) // BLOCK))

    def work(block: slice) -> None:
        _divide(total[block], divisor, gradient[block], squares[block.start // BLOCK :])

    over(team, len(total), work)
    return gradient, sum(squares.tolist())


@compiled
def _divide(total: Array, weight: float, into: Array, square: npt.NDArray[np.float64]) -> None:
    divisor = into.dtype.type(weight)
    for start in range(0, len(total), RUN):
        part, quotients = total[start : start + RUN], into[start : start + RUN]
        found = into.dtype.type(0)
        for p in range(len(part)):
            quotients[p] = part[p] / divisor
            found += quotients[p] * quotients[p]
        square[0] += found
