"""What one step, and one evaluation, gave: frozen results of the coordinator."""

from collections import defaultdict
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

from batchgrad.contract import ShortcutName
from batchgrad_service.engine.comparison import Comparison
from batchgrad_service.engine.statistics import NoiseScale, NormTest
from batchgrad_workers.arrays import Array, Integers

Phase = Literal["shard", "compute", "reduce", "update", "compare"]


@dataclass(frozen=True)
class StepReport:
    """What one step did. Loss and gradient are at the parameters before the update.

    `loss` is None when all weights in the minibatch are 0: there is no mean then and no update.
    `gradient` (P,) is G. `ids`, `losses` and `norms` (n,) are the examples that count, their ℓ_n
    and ‖g_n‖, all finite; `dropped` are the others, which were left out.
    """

    step: int
    epoch: int
    examples: int
    loss: float | None
    learning_rate: float
    gradient: Array
    gradient_norm: float
    gradient_checksum: str
    noise_scale: NoiseScale
    norm_test: NormTest
    ids: Integers
    losses: Array
    norms: Array
    norm_quantiles: dict[str, float]
    norm_histogram: list[int]
    largest_norms: list[tuple[int, float]]
    shortcuts: dict[ShortcutName, Comparison]
    phases: dict[Phase, float]
    workers: int
    dropped: list[int]


@dataclass(frozen=True)
class Evaluation:
    """Figures over the validation examples; None where they have no meaning."""

    loss: float | None
    accuracy: float | None


class Stopwatch:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.phases: defaultdict[Phase, float] = defaultdict(float)
        self._last = perf_counter()

    def lap(self, phase: Phase) -> None:
        """The time since the last lap belongs to `phase`."""
        now = perf_counter()
        self.phases[phase] += now - self._last
        self._last = now
