"""What one step, and one evaluation, gave: results of the coordinator."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, NamedTuple

from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.nn.gradients import GradientSums

Phase = Literal["shard", "compute", "reduce", "update", "compare"]


class Minibatch(NamedTuple):
    """A whole minibatch at the parameters before the update.

    `gradient` (P,) is G, `gradient_norm` ‖G‖; `loss` is None when all weights are 0: there is no
    mean then and no update. `ids`, `losses` and `norms` (n,) are the examples that count,
    their ℓ_n and ‖g_n‖, all finite; `dropped` are the others, which were left out of the sums.
    `examples` counts both.
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


@dataclass(frozen=True)
class Evaluation:
    """Figures over the validation examples; None where they have no meaning."""

    loss: float | None
    accuracy: float | None


class Stopwatch:
    """Seconds by phase; `last` is the time of the last lap, by `perf_counter`."""

    def __init__(self) -> None:
        self.phases: defaultdict[Phase, float] = defaultdict(float)
        self.last = perf_counter()

    def lap(self, phase: Phase) -> None:
        """The time since the last lap belongs to `phase`."""
        now = perf_counter()
        self.phases[phase] += now - self.last
        self.last = now

    def share(self, among: Sequence["Stopwatch"], phase: Phase) -> None:
        """The time since the last lap belongs to `phase` of all those watches, in equal parts.

        The newest of them goes on from now.
        """
        now = perf_counter()
        for watch in among:
            watch.phases[phase] += (now - self.last) / len(among)
        among[-1].last = now
