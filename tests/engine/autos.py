"""`auto` on a clock that the executors move; the bits are real, Ray is not."""

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchgrad_engine.executors.auto.configs import ParallelConfig
from batchgrad_engine.executors.auto.executor import AutoExecutor
from batchgrad_engine.executors.auto.state import State
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
from batchgrad_workers.reduction.sharding import assign
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import RangeSums
from tests.workers.jobs import M, bits, joined, theta, whole

PATIENCE_SECONDS = 30.0
FULL = range(0, 400, 2)
"""Every other step has a short minibatch."""


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(InlineExecutor):
    """Each step takes `seconds`, by the number of threads."""

    def __init__(self, of: WorkerConfig, clock: Clock, seconds: Mapping[int, float]) -> None:
        super().__init__(of, 1)
        self._clock, self._takes = clock, seconds

    def gradient_sums(
        self,
        step: int,
        parameters: Array,
        ranges: Sequence[Range],
        clip_norm: float | None = None,
    ) -> list[RangeSums[GradientSums]]:
        self._clock.now += self._takes[self.threads]
        return super().gradient_sums(step, parameters, ranges, clip_norm)


class FakeGroup(Timed):
    """The workers of a fake cluster; they fail at their `breaks_at`-th step."""

    kind: Kind = "ray"

    def __init__(
        self, of: WorkerConfig, clock: Clock, seconds: float, config: ParallelConfig, breaks_at: int
    ) -> None:
        super().__init__(of, clock, {1: seconds})
        self.workers = self.range_count = config.workers
        self.breaks_in = breaks_at
        self.closed = False

    def gradient_sums(
        self,
        step: int,
        parameters: Array,
        ranges: Sequence[Range],
        clip_norm: float | None = None,
    ) -> list[RangeSums[GradientSums]]:
        self.breaks_in -= 1
        if self.breaks_in == 0:
            raise ClusterLost("the head is gone.")
        return super().gradient_sums(step, parameters, ranges, clip_norm)

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        super().close()


@dataclass
class Cluster:
    """A step takes its workers `seconds`, by configuration."""

    of: WorkerConfig
    clock: Clock
    seconds: dict[ParallelConfig, float]
    cost_seconds: float = 1.0
    cpus: int | None = 4
    is_elastic: bool = False
    cpus_by_node: dict[str, int] = field(default_factory=lambda: {"a": 4})
    breaks_at: int = -1
    unreachable: bool = False
    queries: int = 0
    disconnected: bool = False
    groups: list[FakeGroup] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)

    def nodes(self, interrupted: Callable[[], bool]) -> Mapping[str, int]:
        self.queries += 1
        while self.unreachable and not interrupted():
            threading.Event().wait(0.01)
        if self.unreachable:
            raise Interrupted
        if not self.cpus_by_node:
            raise ClusterLost("no room for Ray.")
        return dict(self.cpus_by_node)

    def launch(self, config: ParallelConfig, interrupted: Callable[[], bool]) -> Executor:
        while not self.ready.wait(0.01):
            if interrupted():
                raise Interrupted
        group = FakeGroup(self.of, self.clock, self.seconds[config], config, self.breaks_at)
        self.groups.append(group)
        return group

    def disconnect(self) -> None:
        assert all(group.closed for group in self.groups)
        self.disconnected = True


class Auto(AutoExecutor):
    """Keeps its events and its transitions."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.events: list[ExecutorEvent] = []
        self.transitions: set[tuple[State, State]] = set()
        super().__init__(*arguments, emit=self.events.append, **options)
        enter = self.selector._enter

        def note(state: State) -> None:
            self.transitions.add((self.selector.state, state))
            enter(state)

        self.selector._enter = note  # type: ignore[method-assign]


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
    """Steps, each compared bit by bit, until `until(events)`."""
    executor.events.clear()
    pause = threading.Event()
    deadline = time.monotonic() + PATIENCE_SECONDS
    steps = itertools.cycle(FULL)
    while time.monotonic() < deadline:
        step = next(steps)
        parts = executor.gradient_sums(step, theta(of), assign(M, executor.range_count))
        assert bits(joined(parts)) == bits(whole(of, step=step)[0])
        if until(executor.events):
            return [*executor.events]
        pause.wait(0.005)  # for the threads in the background
    raise AssertionError(executor.events)


def selected(events: list[ExecutorEvent]) -> list[dict[str, Any]]:
    return [each.data for each in events if each.event == "executor"]
