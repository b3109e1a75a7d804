"""The Ray actor of a worker, which computes shards of steps.

The only module of this package that imports Ray.
"""

import os
import platform
import threading
from dataclasses import dataclass

import numpy as np
import ray

from batchgrad_workers.arrays import Array
from batchgrad_workers.reduction.rounding import unpacked
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.reduction.tree import Node
from batchgrad_workers.runtime.build_info import build_info
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.ipc import ConnectInfo, connect, serve
from batchgrad_workers.runtime.shard import RangeSums, ShardRunner
from batchgrad_workers.runtime.threads import keep_freed_memory, single_threaded_blas
from batchgrad_workers.trainable import EvaluationSums

NONE = GradientSums(np.empty(0), np.empty(0), np.empty(0), np.empty(0))
"""Stands for sums that are elsewhere."""


@dataclass(frozen=True)
class Identity:
    """Where a worker runs, and the builds that determine its bits."""

    pid: int
    node: str
    host: str
    build_info: dict[str, str]


@ray.remote(
    max_restarts=0,
    max_task_retries=0,
    concurrency_groups={"control": 1, "exchange": 1},
    allow_out_of_order_execution=True,  # a call that waits for another worker's array holds up none
)
class GradientWorker:
    """Computes ranges of microbatches; meanwhile a second thread answers `ping`.

    On the engine's node, requests come through the engine's socket; on others, as remote calls.
    Between many nodes a third thread passes θ on and joins sums with those of other workers.
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
        """See `ShardRunner.gradient_sums`; the sums are packed."""
        part = self._shard.gradient_sums(step, parameters, start, stop, clip_norm)
        packed = self._shard.reduction.packed
        nodes = [Node(node.level, node.index, packed(node.sum)) for node in part.nodes]
        return part._replace(nodes=nodes)

    def held_sums(
        self,
        step: int,
        parameters: Array,
        start: int,
        stop: int,
        clip_norm: float | None = None,
    ) -> tuple[RangeSums[GradientSums] | GradientSums, ...]:
        """As `gradient_sums`, but the sums of the nodes, in their order, are further results.

        Ray keeps each in this node's memory until it is needed elsewhere.
        """
        part = self.gradient_sums(step, parameters, start, stop, clip_norm)
        places = [Node(node.level, node.index, NONE) for node in part.nodes]
        return part._replace(nodes=places), *(node.sum for node in part.nodes)

    @ray.method(concurrency_group="exchange")  # type: ignore[untyped-decorator]
    def relay(self, parameters: Array) -> Array:
        """θ, copied to this node: other nodes fetch it from here."""
        return parameters

    @ray.method(concurrency_group="exchange")  # type: ignore[untyped-decorator]
    def join(self, left: GradientSums, right: GradientSums) -> GradientSums:
        """Left + right, of two siblings in the canonical tree."""
        reduction = self._shard.reduction
        return reduction.packed(reduction.join(unpacked(left), unpacked(right)))

    def evaluation_sums(
        self, parameters: Array, start: int, stop: int
    ) -> RangeSums[EvaluationSums]:
        """See `ShardRunner.evaluation_sums`."""
        return self._shard.evaluation_sums(parameters, start, stop)
