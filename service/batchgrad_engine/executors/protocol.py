"""The executor protocol: what the coordinator needs to compute a step."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from batchgrad.contract import EventType
from batchgrad_engine.messages import ClusterSeen
from batchgrad_workers.arrays import Array
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.shard import RangeSums
from batchgrad_workers.trainable import EvaluationSums

Range = tuple[int, int]
"""Microbatches [start, stop) of a step."""

Kind = Literal["inline", "ray"]

Transport = Literal["shared_memory", "ray"]

Flow = tuple[Literal["in", "out"], Transport]
"""Direction and transport: θ goes out and sums come in, by shared memory or as Ray objects."""

Traffic = Counter[Flow]
"""Bytes transferred, by direction and transport."""


class Interrupted(Exception):
    """The engine has to stop; the step was not computed."""


class ClusterLost(Exception):
    """The Ray cluster is gone; the step was not computed."""


@dataclass(frozen=True)
class ExecutorEvent:
    """A worker joined or was lost, a range was retried, or a configuration was chosen."""

    event: EventType
    data: dict[str, Any]


EventSink = Callable[[ExecutorEvent], None]
"""Sends an event at once; any thread may call it."""


class Executor(Protocol):
    """Computes ranges of microbatches. The sums have the same bits on every executor."""

    @property
    def kind(self) -> Kind:
        """Where it computes now."""

    @property
    def workers(self) -> int:
        """Ray workers that are alive; 0 inline."""

    @property
    def threads(self) -> int:
        """Threads of each worker, or of the engine."""

    @property
    def range_count(self) -> int:
        """The number of ranges to cut the next step into."""

    def gradient_sums(
        self,
        step: int,
        parameters: Array,
        ranges: Sequence[Range],
        clip_norm: float | None = None,
    ) -> list[RangeSums[GradientSums]]:
        """The sums of all `ranges` of step `step` at θ = `parameters` (P,), in any order.

        `clip_norm` is C of a private job, whose gradients are clipped before they are added.
        They are valid until the next call, which may overwrite their memory; the caller may
        modify them.

        Raises:
            Interrupted: the engine has to stop.
            NoWorkers, ClusterLost: no worker is left.
            WorkersLost: too many workers in a row were lost with the same microbatches.
        """

    def evaluation_sums(
        self, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]:
        """Loss and correct answers over `ranges` of the validation examples, as `gradient_sums`."""

    def traffic(self) -> Traffic:
        """Bytes transferred since the last call."""

    def cluster(self) -> ClusterSeen:
        """Ray's nodes as last queried, and the nodes that have workers."""

    def close(self) -> None:
        """End all threads and workers."""
