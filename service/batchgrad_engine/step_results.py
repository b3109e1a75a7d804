"""Results of one step, and the time that each phase took."""

from collections import defaultdict
from collections.abc import Sequence
from time import perf_counter
from typing import Literal, NamedTuple

from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.reduction.sums import GradientSums

Phase = Literal["shard", "compute", "reduce", "update", "compare"]


class MinibatchResult(NamedTuple):
    """A whole minibatch at the parameters before the update.

    `gradient` (P,) is G, `gradient_norm` ‖G‖; `loss` is None if all weights are 0: then there is
    no mean and no update. `ids`, `losses` and `norms` (n,) are the examples in the sums, their
    ℓ_n and ‖g_n‖, all finite; `dropped` are the examples left out. `examples` counts both.
    """

    examples: int
    ids: Integers
    losses: Array
    norms: Floats
    dropped: list[int]
    sums: GradientSums
    loss: float | None
    gradient: Array
    gradient_norm: float


class Stopwatch:
    """Seconds per phase; `last` is the `perf_counter` time of the last lap."""

    def __init__(self) -> None:
        self.phases: defaultdict[Phase, float] = defaultdict(float)
        self.last = perf_counter()

    def lap(self, phase: Phase) -> None:
        """Count the time since the last lap for `phase`."""
        now = perf_counter()
        self.phases[phase] += now - self.last
        self.last = now

    def lap_evenly(self, watches: Sequence["Stopwatch"], phase: Phase) -> None:
        """Count the time since the last lap for `phase` of all `watches`, in equal parts.

        The next lap of the last one starts now.
        """
        now = perf_counter()
        for watch in watches:
            watch.phases[phase] += (now - self.last) / len(watches)
        watches[-1].last = now
