"""The engine computes by itself, with threads; no Ray is started at all."""

import os
from collections.abc import Sequence
from math import inf
from time import perf_counter
from typing import Literal

from batchgrad_service.engine.executors.protocol import Happening, Range
from batchgrad_workers.arrays import Array
from batchgrad_workers.gradients import GradientSums
from batchgrad_workers.shard import EvaluationSums, RangeSums, Setup, Shard, microbatches

TRIALS = 3
"""Steps that each number of threads is given to show its best time."""


class InlineExecutor:
    """One shard in this process. With threads "auto", the first steps measure and choose."""

    kind: Literal["inline", "ray"] = "inline"
    workers = 0
    shares = 1

    def __init__(self, setup: Setup, threads: int | Literal["auto"]) -> None:
        self._candidates = _candidates() if threads == "auto" else []
        self._best: dict[int, float] = {}
        self._microbatches = microbatches(setup.batch_size, setup.microbatch_size)
        self._trials, self._fastest = 0, inf
        self._happenings: list[Happening] = []
        self._shard = Shard(setup, self._candidates[0] if threads == "auto" else threads)

    @property
    def threads(self) -> int:
        return self._shard.threads

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[GradientSums]]:
        started = perf_counter()
        sums = [self._shard.gradient_sums(step, parameters, *each) for each in ranges]
        whole = ranges[-1][1] == self._microbatches  # a short last minibatch measures nothing
        if whole and len(self._best) < len(self._candidates):
            self._try_threads(perf_counter() - started)
        return sums

    def evaluation_sums(
        self, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]:
        return [self._shard.evaluation_sums(parameters, *each) for each in ranges]

    def drain(self) -> list[Happening]:
        happenings, self._happenings = self._happenings, []
        return happenings

    def traffic(self) -> tuple[int, int]:
        return 0, 0

    def close(self) -> None:
        self._shard.close()

    def _try_threads(self, seconds: float) -> None:
        """Note the time of a step; after a few, go to the next candidate, at last to the best."""
        self._trials += 1
        self._fastest = min(seconds, self._fastest)
        if self._trials < TRIALS:
            return
        self._best[self.threads] = self._fastest
        self._trials, self._fastest = 0, inf
        remaining = [count for count in self._candidates if count not in self._best]
        if remaining:
            self._shard.use_threads(remaining[0])
            return
        best = min(self._best, key=lambda count: self._best[count])
        if best != self.threads:
            self._shard.use_threads(best)
        milliseconds = {str(count): 1e3 * self._best[count] for count in sorted(self._best)}
        self._happenings.append(
            Happening("plan", {"threads": best, "milliseconds_by_threads": milliseconds})
        )


def _candidates() -> list[int]:
    """1, 2, 4, … and all the cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    return sorted({cores, *(1 << power for power in range(cores.bit_length()))})
