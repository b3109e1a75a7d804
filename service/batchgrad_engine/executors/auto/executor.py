"""`auto`: measures on the job's own steps what is fastest, and changes over to that.

First the engine alone, with 1, 2, 4, … threads; then Ray, if that can win more than it costs. A
crew comes in the background while the engine goes on by itself. There is never more than one: a
cluster may have no room for two. The bits are the same whoever computes, so a change between two
steps is a matter of speed alone; nor can Ray's failure be more than a warning.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from functools import partial
from time import perf_counter
from typing import Any, Literal, TypeVar

from batchgrad_engine.executors.auto.cluster import Cluster
from batchgrad_engine.executors.auto.cluster_monitor import ClusterMonitor
from batchgrad_engine.executors.auto.configs import (
    ParallelConfig,
    could_win_seconds,
    fastest,
    inline_plans,
    ray_plans,
)
from batchgrad_engine.executors.auto.tuner import Autotuner
from batchgrad_engine.executors.background import background
from batchgrad_engine.executors.inline import InlineExecutor
from batchgrad_engine.executors.protocol import (
    EventSink,
    Executor,
    ExecutorEvent,
    Interrupted,
    Kind,
    Range,
    Traffic,
)
from batchgrad_engine.messages import ClusterSeen
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.gradients import GradientSums
from batchgrad_workers.runtime.shard import EvaluationSums, RangeSums

LEAVE_SECONDS = 10.0

Answer = TypeVar("Answer")


class AutoExecutor:
    """The engine alone, or a crew on Ray, whichever is faster at present."""

    def __init__(
        self,
        inline: InlineExecutor,
        cluster: Cluster | None,
        *,
        threads: int | Literal["auto"],
        cores: int,
        microbatches: int,
        steps_planned: int,
        interrupted: Callable[[], bool],
        tell: EventSink,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """Without a `cluster` only the number of threads is chosen."""
        self._clock = clock
        self._inline = inline
        self._wanted_threads = threads
        self._microbatches = microbatches
        self._steps_planned = steps_planned
        self._closing = threading.Event()
        self._interrupted = lambda: self._closing.is_set() or interrupted()
        self._trials = Autotuner(inline_plans(threads, cores))
        self._plan: ParallelConfig = self._trials.next() or ParallelConfig(0, 1)
        self._trying = True
        self._crew: tuple[ParallelConfig, Executor] | None = None
        self._lookout = ClusterMonitor(cluster, self._interrupted, clock) if cluster else None
        self._coming: tuple[ParallelConfig, Future[Executor]] | None = None
        self._tell = tell
        self._traffic = Traffic()
        inline.use_threads(self._plan.threads)

    @property
    def _current(self) -> Executor:
        return self._crew[1] if self._crew and self._plan.workers else self._inline

    @property
    def kind(self) -> Kind:
        return self._current.kind

    @property
    def workers(self) -> int:
        return self._current.workers

    @property
    def threads(self) -> int:
        return self._current.threads

    @property
    def shares(self) -> int:
        return self._run(lambda executor: executor.shares)

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[GradientSums]]:
        before, started = self._current, self._clock()
        sums = self._run(lambda executor: executor.gradient_sums(step, parameters, ranges))
        seconds = self._clock() - started
        # A short last minibatch measures nothing, nor does a step that was begun twice.
        if ranges[-1][1] == self._microbatches and self._current is before:
            self._consider(seconds, self._steps_planned - step - 1)
        return sums

    def evaluation_sums(
        self, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]:
        return self._run(lambda executor: executor.evaluation_sums(parameters, ranges))

    def traffic(self) -> Traffic:
        found, self._traffic = self._traffic, Traffic()
        return found + (self._crew[1].traffic() if self._crew else Traffic())

    def cluster(self) -> ClusterSeen:
        seen = self._crew[1].cluster() if self._crew else ClusterSeen()
        known = self._lookout.nodes if self._lookout else None
        nodes = [node for node in known or () if node]  # a private cluster's has no name
        return seen.model_copy(update={"nodes": nodes or seen.nodes})

    def close(self) -> None:
        """Dismiss everybody, also those who are still coming."""
        self._closing.set()
        pending: list[Future[Any]] = [*self._lookout.pending] if self._lookout else []
        wait([*pending, *([self._coming[1]] if self._coming else [])], LEAVE_SECONDS)
        if self._coming and self._coming[1].done() and not self._coming[1].exception():
            self._crew = self._coming[0], self._coming[1].result()
        self._dismiss()
        if self._lookout:
            self._lookout.cluster.leave()
        self._inline.close()

    def _run(self, work: Callable[[Executor], Answer]) -> Answer:
        """By the crew, if it has its turn; by the engine alone, if the crew fails."""
        if self._current is self._inline:
            return work(self._inline)
        try:
            return work(self._current)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the engine can do without
            self._give_up(error)
            return work(self._inline)

    def _consider(self, seconds: float, steps_left: int) -> None:
        """After a step: note its time, or see who has come; perhaps change over."""
        if self._trying:
            if self._trials.note(self._plan, seconds):
                self._next(steps_left)
            return
        try:
            self._look(steps_left)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001  # Ray's failure is no failure of the job
            self._give_up(error)

    def _next(self, steps_left: int) -> None:
        """After a turn: the next one; or Ray, if that can pay; or an end of trying."""
        plan, lookout = self._trials.next(), self._lookout
        if plan is not None:
            self._change_to(plan)
            self._trying = self._coming is None
        elif lookout is None or lookout.nodes is not None:
            self._settle("the fastest of what was measured")
        else:
            cluster = lookout.cluster
            won = self._could_win(steps_left, cluster.cpus)
            if won < cluster.cost_seconds:
                self._settle(_not_worth(won, cluster))
            else:
                self._alone()
                lookout.look()

    def _look(self, steps_left: int) -> None:
        """Outside of any trial: has somebody come, have the nodes changed?"""
        if self._coming:
            plan, crew = self._coming
            if crew.done():
                self._coming = None
                self._crew, self._plan = (plan, crew.result()), plan
                self._trying = plan not in self._trials.seconds
        elif self._lookout:
            first = self._lookout.nodes is None
            nodes = self._lookout.news()
            if nodes is not None:
                self._learn(self._lookout.cluster, nodes, steps_left, first=first)

    def _learn(
        self, cluster: Cluster, nodes: Mapping[str, int], steps_left: int, *, first: bool
    ) -> None:
        """Other nodes than before: a crew follows them; without one, measure what they can do."""
        if self._plan.workers:
            return
        won = self._could_win(steps_left, sum(nodes.values()))
        if won < cluster.cost_seconds:
            if first:
                self._settle(_not_worth(won, cluster))
            return
        plans = ray_plans(self._wanted_threads, list(nodes.values()), self._microbatches)
        self._trials.challenge(plans)
        self._next(steps_left)

    def _could_win(self, steps_left: int, cpus: int | None) -> float:
        alone, microbatches = self._trials.alone, self._microbatches
        return could_win_seconds(alone, steps_left=steps_left, microbatches=microbatches, cpus=cpus)

    def _settle(self, because: str) -> None:
        """Change to the best plan for good, and say why."""
        seconds = self._trials.seconds
        best = fastest(seconds)
        self._change_to(best)
        self._trying = False
        if not best.workers:
            self._dismiss()
        data: dict[str, Any] = {
            "executor": "ray" if best.workers else "inline",
            "workers": best.workers,
            "threads": best.threads,
            "because": because,
            "milliseconds": {str(plan): 1e3 * seconds[plan] for plan in sorted(seconds)},
        }
        self._tell(ExecutorEvent("plan", data))

    def _change_to(self, plan: ParallelConfig) -> None:
        """From the next step on; a crew that is not there yet is called, and comes later."""
        if not plan.workers:
            self._inline.use_threads(plan.threads)
            self._plan = plan
        elif self._crew and self._crew[0] == plan:
            self._plan = plan
        elif self._lookout:
            hire = partial(self._lookout.cluster.hire, plan, self._interrupted)
            self._alone()
            self._coming = plan, background(hire)

    def _alone(self) -> None:
        """Go on without anybody, in the best way that is known."""
        self._change_to(fastest(self._trials.alone))
        self._trying = False
        self._dismiss()

    def _dismiss(self) -> None:
        if self._crew is not None:
            (_, crew), self._crew = self._crew, None
            self._traffic += crew.traffic()
            crew.close()

    def _give_up(self, error: Exception) -> None:
        """Without Ray from now on; a cluster that may come back is looked at again."""
        goes_on = "the engine goes on by itself"
        if self._lookout and (seconds := self._lookout.fail()) is not None:
            goes_on += f", and looks at the cluster again in {seconds:g} s"
        text = (
            f"Ray was of no use ({type(error).__name__}: {error}): {goes_on}. "
            "The result is the same; see whether the cluster is well, or set workers: 0."
        )
        self._tell(ExecutorEvent("warning", {"detail": text}))
        self._trials.without_ray()
        self._settle("Ray failed")


def _not_worth(won: float, cluster: Cluster) -> str:
    return (
        f"Ray was not tried: it could save {won:.1f} s of what is left at the very best, and to "
        f"try it costs about {cluster.cost_seconds:g} s"
    )
