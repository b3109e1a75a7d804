"""The executor `auto`: run each step on the fastest executor; fall back to the engine if Ray fails.

`selector.py` decides which executor is the fastest.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Literal, TypeVar

from batchgrad_engine.executors.auto.cluster import Cluster
from batchgrad_engine.executors.auto.selector import ExecutorSelector
from batchgrad_engine.executors.inline import InlineExecutor
from batchgrad_engine.executors.protocol import (
    EventSink,
    Executor,
    Interrupted,
    Kind,
    Range,
    Traffic,
)
from batchgrad_engine.messages import ClusterSeen
from batchgrad_workers.arrays import Array
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.shard import RangeSums
from batchgrad_workers.trainable import EvaluationSums

Result = TypeVar("Result")


class AutoExecutor:
    """The engine alone or workers on Ray, whichever is faster at present."""

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
        emit: EventSink,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """Without a `cluster` only the number of threads is selected.

        A full minibatch has `microbatches` microbatches; `cores` are those of this machine.
        """
        self._clock = clock
        self._microbatches = microbatches
        self._steps_planned = steps_planned
        self.selector = ExecutorSelector(
            inline,
            cluster,
            threads=threads,
            cores=cores,
            microbatches=microbatches,
            interrupted=interrupted,
            emit=emit,
            clock=clock,
        )

    @property
    def kind(self) -> Kind:
        return self.selector.current.kind

    @property
    def workers(self) -> int:
        return self.selector.current.workers

    @property
    def threads(self) -> int:
        return self.selector.current.threads

    @property
    def range_count(self) -> int:
        return self._run(lambda executor: executor.range_count)

    def gradient_sums(
        self,
        step: int,
        parameters: Array,
        ranges: Sequence[Range],
        clip_norm: float | None = None,
    ) -> list[RangeSums[GradientSums]]:
        before, started_at = self.selector.current, self._clock()
        sums = self._run(
            lambda executor: executor.gradient_sums(step, parameters, ranges, clip_norm)
        )
        seconds = self._clock() - started_at
        # Only full minibatches are comparable, and only if Ray did not fail within the step.
        if ranges[-1][1] == self._microbatches and self.selector.current is before:
            self.selector.after_step(seconds, self._steps_planned - step - 1)
        return sums

    def evaluation_sums(
        self, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]:
        return self._run(lambda executor: executor.evaluation_sums(parameters, ranges))

    def traffic(self) -> Traffic:
        return self.selector.traffic()

    def cluster(self) -> ClusterSeen:
        return self.selector.cluster()

    def close(self) -> None:
        self.selector.close()

    def _run(self, work: Callable[[Executor], Result]) -> Result:
        """Run `work` on the current executor; if that is Ray and fails, in the engine."""
        current = self.selector.current
        if current is self.selector.inline:
            return work(current)
        try:
            return work(current)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001  # the engine can compute everything itself
            self.selector.fall_back(error)
            return work(self.selector.inline)
