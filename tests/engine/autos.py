"""`auto` on a clock that the executors themselves move; bits are real, Ray is not."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchgrad_engine.executors.auto.configs import ParallelConfig
from batchgrad_engine.executors.auto.executor import AutoExecutor
from batchgrad_engine.executors.inline import InlineExecutor
from batchgrad_engine.executors.protocol import (
    ClusterLost,
    Executor,
    ExecutorEvent,
    Interrupted,
    Kind,
    Range,
)
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.gradients import GradientSums
from batchgrad_workers.reduction.sharding import assign
from batchgrad_workers.runtime.shard import RangeSums, WorkerConfig
from tests.workers.jobs import M, bits, joined, theta, whole

FULL = range(0, 400, 2)
"""Every other step has a short minibatch."""


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(InlineExecutor):
    """Takes as long as it is told to, by the number of threads."""

    def __init__(self, of: WorkerConfig, clock: Clock, seconds: Mapping[int, float]) -> None:
        super().__init__(of, 1)
        self._clock, self._takes = clock, seconds

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[GradientSums]]:
        self._clock.now += self._takes[self.threads]
        return super().gradient_sums(step, parameters, ranges)


class WorkerGroup(Timed):
    """What a cluster hires out; breaks at its `breaks_at`-th step."""

    kind: Kind = "ray"

    def __init__(
        self, of: WorkerConfig, clock: Clock, seconds: float, plan: ParallelConfig, breaks_at: int
    ) -> None:
        super().__init__(of, clock, {1: seconds})
        self.workers = self.shares = plan.workers
        self.breaks_in = breaks_at
        self.closed = False

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[GradientSums]]:
        self.breaks_in -= 1
        if self.breaks_in == 0:
            raise ClusterLost("the head is gone.")
        return super().gradient_sums(step, parameters, ranges)

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        super().close()


@dataclass
class Cluster:
    """`seconds` is what a step takes its crews, by plan."""

    of: WorkerConfig
    clock: Clock
    seconds: dict[ParallelConfig, float]
    cost_seconds: float = 1.0
    cpus: int | None = 4
    changes: bool = False
    cpus_by_node: dict[str, int] = field(default_factory=lambda: {"a": 4})
    breaks_at: int = -1
    unheard: bool = False
    looks: int = 0
    left: bool = False
    crews: list[WorkerGroup] = field(default_factory=list)
    comes: threading.Event = field(default_factory=threading.Event)

    def nodes(self, interrupted: Callable[[], bool]) -> Mapping[str, int]:
        self.looks += 1
        while self.unheard and not interrupted():
            threading.Event().wait(0.01)
        if self.unheard:
            raise Interrupted
        if not self.cpus_by_node:
            raise ClusterLost("no room for Ray.")
        return dict(self.cpus_by_node)

    def hire(self, plan: ParallelConfig, interrupted: Callable[[], bool]) -> Executor:
        while not self.comes.wait(0.01):
            if interrupted():
                raise Interrupted
        crew = WorkerGroup(self.of, self.clock, self.seconds[plan], plan, self.breaks_at)
        self.crews.append(crew)
        return crew

    def leave(self) -> None:
        assert all(crew.closed for crew in self.crews)
        self.left = True


class Auto(AutoExecutor):
    """Keeps what it tells."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.told: list[ExecutorEvent] = []
        super().__init__(*arguments, tell=self.told.append, **options)


def auto(
    of: WorkerConfig,
    clock: Clock,
    seconds: Mapping[int, float],
    cluster: Cluster | None = None,
    *,
    threads: Any = "auto",
    steps_planned: int = 10**6,
) -> Auto:
    return Auto(
        Timed(of, clock, seconds),
        cluster,
        threads=threads,
        cores=2,
        microbatches=M,
        steps_planned=steps_planned,
        interrupted=lambda: False,
        clock=clock,
    )


def train(
    of: WorkerConfig, executor: Auto, until: Callable[[list[ExecutorEvent]], Any]
) -> list[ExecutorEvent]:
    """Steps, each compared bit by bit, until it has happened."""
    executor.told.clear()
    pause = threading.Event()
    for step in FULL:
        parts = executor.gradient_sums(step, theta(of), assign(M, executor.shares))
        assert bits(joined(parts)) == bits(whole(of, step=step)[0])
        if until(executor.told):
            return [*executor.told]
        pause.wait(0.005)  # others work in the background
    raise AssertionError(executor.told)


def plans(happened: list[ExecutorEvent]) -> list[dict[str, Any]]:
    return [each.data for each in happened if each.event == "plan"]
