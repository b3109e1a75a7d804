"""The Ray actor: a shard behind a remote call, one a node with several threads. Ray only here."""

import os
import platform
import threading
from dataclasses import dataclass

import ray

from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.gradients import GradientSums
from batchgrad_workers.runtime.build_info import build
from batchgrad_workers.runtime.ipc import ConnectInfo, connect, serve
from batchgrad_workers.runtime.shard import EvaluationSums, RangeSums, ShardRunner, WorkerConfig
from batchgrad_workers.runtime.threads import keep_freed_memory, single_threaded_blas


@dataclass(frozen=True)
class Identity:
    """Where a worker runs, and what decides the bits that it computes."""

    pid: int
    node: str
    host: str
    build: dict[str, str]


@ray.remote(max_restarts=0, max_task_retries=0, concurrency_groups={"control": 1})
class GradientWorker:
    """Computes ranges of microbatches; a second thread answers `ping` while it does.

    On the engine's own node it is asked through the engine's socket, elsewhere by remote calls.
    """

    _shard: ShardRunner

    def __init__(self) -> None:
        single_threaded_blas()
        keep_freed_memory()

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def ping(self) -> Identity:
        """Say who and where; a worker that is stopped or cut off stays silent."""
        node = ray.get_runtime_context().get_node_id()
        return Identity(os.getpid(), node, platform.node(), build())

    def prepare(self, config: WorkerConfig, threads: int, offer: ConnectInfo | None) -> str | None:
        """Open the dataset, which may have to be fetched first, and take up work.

        Returns why a worker on the engine's own node could not reach the engine's socket.
        """
        self._shard = ShardRunner(config, threads)
        if offer is None or offer.node != ray.get_runtime_context().get_node_id():
            return None
        try:
            connection = connect(offer)
        except OSError as error:
            return str(error)
        threading.Thread(
            target=serve, args=(connection, self._shard, config.precision), daemon=True
        ).start()
        return None

    def gradient_sums(
        self, step: int, parameters: Array, start: int, stop: int
    ) -> RangeSums[GradientSums]:
        """See `ShardRunner.gradient_sums`."""
        return self._shard.gradient_sums(step, parameters, start, stop)

    def evaluation_sums(
        self, parameters: Array, start: int, stop: int
    ) -> RangeSums[EvaluationSums]:
        """See `ShardRunner.evaluation_sums`."""
        return self._shard.evaluation_sums(parameters, start, stop)
