"""What the coordinator asks of an executor."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from batchgrad.contract import EventType
from batchgrad_engine.messages import ClusterSeen
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.gradients import GradientSums
from batchgrad_workers.runtime.shard import EvaluationSums, RangeSums

Range = tuple[int, int]
"""Microbatches [start, stop) of a step."""

Kind = Literal["inline", "ray"]

Transport = Literal["shared_memory", "ray"]

Way = tuple[Literal["in", "out"], Transport]
"""Sums come in and θ goes out, through memory that both see or through Ray's objects."""

Traffic = Counter[Way]
"""Bytes."""


class Interrupted(Exception):
    """The engine was told to go while it waited for workers; the step did not happen."""


class ClusterLost(Exception):
    """Ray itself is gone; the step did not happen."""


@dataclass(frozen=True)
class ExecutorEvent:
    """A worker that came or went, a range that was computed again, or a plan that was made."""

    event: EventType
    data: dict[str, Any]


EventSink = Callable[[ExecutorEvent], None]
"""Passes something on at once; any thread may call it."""


class Executor(Protocol):
    """Computes ranges of microbatches; what it answers has the same bits wherever it runs."""

    @property
    def kind(self) -> Kind:
        """Where it computes at present."""

    @property
    def workers(self) -> int:
        """Ray workers at hand; 0 inline."""

    @property
    def threads(self) -> int:
        """Threads per worker, or of the engine itself."""

    @property
    def shares(self) -> int:
        """Into how many ranges a step should be cut."""

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[GradientSums]]:
        """The sums of all `ranges` of step number `step` at θ = `parameters` (P,), in any order.

        The caller may add up in them, and is done with them before it calls again: they may
        stand in memory that the next call overwrites.

        Raises:
            Interrupted: the engine has to go.
            NoWorkers, ClusterLost: nobody is left to compute.
        """

    def evaluation_sums(
        self, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]:
        """Loss and right answers over `ranges` of the validation examples; the same holds."""

    def traffic(self) -> Traffic:
        """Bytes that travelled since the last call."""

    def cluster(self) -> ClusterSeen:
        """Ray's nodes as they were looked at last, and where the workers are now."""

    def close(self) -> None:
        """Let go of threads and workers."""
