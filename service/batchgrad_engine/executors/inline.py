"""The engine computes by itself, with threads; no Ray is started at all."""

from collections.abc import Sequence

from batchgrad_engine.executors.protocol import Kind, Range, Traffic
from batchgrad_engine.messages import ClusterSeen
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.gradients import GradientSums
from batchgrad_workers.runtime.shard import EvaluationSums, RangeSums, ShardRunner, WorkerConfig


class InlineExecutor:
    """One shard in this process."""

    kind: Kind = "inline"
    workers = 0
    shares = 1

    def __init__(self, setup: WorkerConfig, threads: int) -> None:
        self._shard = ShardRunner(setup, threads)

    @property
    def threads(self) -> int:
        return self._shard.threads

    def use_threads(self, threads: int) -> None:
        """Change their number; the bits stay the same."""
        if threads != self.threads:
            self._shard.use_threads(threads)

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[GradientSums]]:
        return [self._shard.gradient_sums(step, parameters, *each) for each in ranges]

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
