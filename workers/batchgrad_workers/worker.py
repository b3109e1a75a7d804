"""The Ray actor: a shard behind a remote call, one a node with several threads. Ray only here."""

import os
import platform
from dataclasses import dataclass

import ray

from batchgrad_workers.arrays import Array
from batchgrad_workers.build import build
from batchgrad_workers.gradients import GradientSums
from batchgrad_workers.shard import EvaluationSums, RangeSums, Setup, Shard
from batchgrad_workers.threads import keep_freed_memory, single_threaded_blas


@dataclass(frozen=True)
class Identity:
    """Where a worker runs, and what decides the bits that it computes."""

    pid: int
    node: str
    host: str
    build: dict[str, str]


@ray.remote(max_restarts=0, max_task_retries=0, concurrency_groups={"control": 1})
class GradientWorker:
    """Computes ranges of microbatches; a second thread answers `ping` while it does."""

    def __init__(self, setup: Setup, threads: int) -> None:
        single_threaded_blas()
        keep_freed_memory()
        self._shard = Shard(setup, threads)

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def ping(self) -> Identity:
        """Say who and where; a worker that is stopped or cut off stays silent."""
        node = ray.get_runtime_context().get_node_id()
        return Identity(os.getpid(), node, platform.node(), build())

    def gradient_sums(
        self, step: int, parameters: Array, start: int, stop: int
    ) -> RangeSums[GradientSums]:
        """See `Shard.gradient_sums`."""
        return self._shard.gradient_sums(step, parameters, start, stop)

    def evaluation_sums(
        self, parameters: Array, start: int, stop: int
    ) -> RangeSums[EvaluationSums]:
        """See `Shard.evaluation_sums`."""
        return self._shard.evaluation_sums(parameters, start, stop)
