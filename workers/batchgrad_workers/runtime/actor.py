"""The Ray actor of a worker, which computes shards of steps.

The only module of this package that imports Ray.
"""

import os
import platform
import threading
from dataclasses import dataclass

import ray

from batchgrad_workers.arrays import Array
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.build_info import build_info
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.ipc import ConnectInfo, connect, serve
from batchgrad_workers.runtime.shard import RangeSums, ShardRunner
from batchgrad_workers.runtime.threads import keep_freed_memory, single_threaded_blas
from batchgrad_workers.trainable import EvaluationSums


@dataclass(frozen=True)
class Identity:
    """Where a worker runs, and the builds that determine its bits."""

    pid: int
    node: str
    host: str
    build_info: dict[str, str]


@ray.remote(max_restarts=0, max_task_retries=0, concurrency_groups={"control": 1})
class GradientWorker:
    """Computes ranges of microbatches; meanwhile a second thread answers `ping`.

    On the engine's node, requests come through the engine's socket; on others, as remote calls.
    """

    _shard: ShardRunner

    def __init__(self) -> None:
        single_threaded_blas()
        keep_freed_memory()

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def ping(self) -> Identity:
        """Return this worker's identity; a worker that is stopped or cut off does not answer."""
        node = ray.get_runtime_context().get_node_id()
        return Identity(os.getpid(), node, platform.node(), build_info())

    def prepare(
        self, config: WorkerConfig, threads: int, connect_info: ConnectInfo | None
    ) -> str | None:
        """Open the dataset, which may have to be fetched first, and serve requests.

        Returns the reason if a worker on the engine's node could not reach the engine's socket.
        """
        self._shard = ShardRunner(config, threads)
        if connect_info is None or connect_info.node != ray.get_runtime_context().get_node_id():
            return None
        try:
            connection = connect(connect_info)
        except OSError as error:
            return str(error)
        threading.Thread(
            target=serve, args=(connection, self._shard, config.precision), daemon=True
        ).start()
        return None

    def gradient_sums(
        self,
        step: int,
        parameters: Array,
        start: int,
        stop: int,
        clip_norm: float | None = None,
    ) -> RangeSums[GradientSums]:
        """See `ShardRunner.gradient_sums`."""
        return self._shard.gradient_sums(step, parameters, start, stop, clip_norm)

    def evaluation_sums(
        self, parameters: Array, start: int, stop: int
    ) -> RangeSums[EvaluationSums]:
        """See `ShardRunner.evaluation_sums`."""
        return self._shard.evaluation_sums(parameters, start, stop)
