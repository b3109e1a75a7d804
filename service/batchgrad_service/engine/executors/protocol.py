"""What the coordinator asks of an executor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from batchgrad.contract import EventType
from batchgrad_workers.arrays import Array
from batchgrad_workers.gradients import GradientSums
from batchgrad_workers.shard import EvaluationSums, RangeSums

Range = tuple[int, int]
"""Microbatches [start, stop) of a step."""


class Interrupted(Exception):
    """The engine was told to go while it waited for workers; the step did not happen."""


class ClusterLost(Exception):
    """Ray itself is gone; the step did not happen."""


@dataclass(frozen=True)
class Happening:
    """A worker that came or went, or a range that was computed again."""

    event: EventType
    data: dict[str, Any]


class Executor(Protocol):
    """Computes ranges of microbatches; what it answers has the same bits wherever it runs."""

    kind: Literal["inline", "ray"]

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

        Raises:
            Interrupted: the engine has to go.
            NoWorkers, ClusterLost: nobody is left to compute.
        """

    def evaluation_sums(
        self, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]:
        """Loss and right answers over `ranges` of the validation examples."""

    def drain(self) -> list[Happening]:
        """What happened since the last call."""

    def traffic(self) -> tuple[int, int]:
        """Bytes of sums that came in and of parameters that went out since the last call."""

    def close(self) -> None:
        """Let go of threads and workers."""
