"""Compute steps in the engine's own process, with threads and without Ray."""

from collections.abc import Sequence

from batchgrad_engine.executors.protocol import Kind, Range, Traffic
from batchgrad_engine.messages import ClusterSeen
from batchgrad_workers.arrays import Array
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import RangeSums, ShardRunner
from batchgrad_workers.trainable import EvaluationSums


class InlineExecutor:
    """One `ShardRunner` in this process."""

    kind: Kind = "inline"
    workers = 0
    range_count = 1

    def __init__(self, worker_config: WorkerConfig, threads: int) -> None:
        self._shard = ShardRunner(worker_config, threads)

    @property
    def threads(self) -> int:
        return self._shard.threads

    def use_threads(self, threads: int) -> None:
        """Change the number of threads; the bits stay the same."""
        if threads != self.threads:
            self._shard.use_threads(threads)

    def gradient_sums(
        self,
        step: int,
        parameters: Array,
        ranges: Sequence[Range],
        clip_norm: float | None = None,
    ) -> list[RangeSums[GradientSums]]:
        return [self._shard.gradient_sums(step, parameters, *each, clip_norm) for each in ranges]

    def evaluation_sums(
        self, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]:
        return [self._shard.evaluation_sums(parameters, *each) for each in ranges]

    def traffic(self) -> Traffic:
        return Traffic()

    def cluster(self) -> ClusterSeen:
        return ClusterSeen()

    def close(self) -> None:
        self._shard.close()
