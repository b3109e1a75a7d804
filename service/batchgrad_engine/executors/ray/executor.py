"""Compute steps with a group of workers on Ray."""

import os
from collections.abc import Callable, Sequence
from functools import partial

import ray

from batchgrad.contract import WorkerRange
from batchgrad_engine.executors.protocol import (
    ClusterLost,
    EventSink,
    Kind,
    Range,
    Traffic,
)
from batchgrad_engine.executors.ray import connection
from batchgrad_engine.executors.ray.actor import ActorLauncher
from batchgrad_engine.executors.ray.exchange import Exchange
from batchgrad_engine.executors.ray.nodes import watch as watch_nodes
from batchgrad_engine.executors.ray.placement import (
    Nodes,
    WorkerSlot,
    max_threads,
    one_per_node,
)
from batchgrad_engine.executors.ray.worker_group import WorkerGroup
from batchgrad_engine.executors.scheduler.scheduler import Scheduler
from batchgrad_engine.messages import ClusterSeen, Start
from batchgrad_workers.arrays import Array
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import RangeSums
from batchgrad_workers.trainable import EvaluationSums


class RayExecutor:
    """A worker group on the cluster that this process is connected to, and its scheduler."""

    kind: Kind = "ray"

    def __init__(
        self,
        worker_config: WorkerConfig,
        *,
        num_gpus: float = 0.0,
        slots: Callable[[Nodes], Sequence[WorkerSlot]],
        nodes: Callable[[], Nodes] = Nodes,
        min_workers: int = 1,
        siblings_from_nodes: int,
        heartbeat_timeout_seconds: float,
        start_timeout_seconds: float,
        replacement_timeout_seconds: float,
        interrupted: Callable[[], bool],
        emit: EventSink,
        disconnect: Callable[[], None] = lambda: None,
    ) -> None:
        """Launch the workers and wait for them, as `WorkerGroup.wait_for_all` does.

        Each worker reserves `num_gpus`. `nodes` returns the current cluster, `close` calls
        `disconnect`; the other arguments are those of `WorkerGroup`. With workers on
        `siblings_from_nodes` other nodes, they pass θ on and join sums among themselves.

        Raises:
            NoWorkers, Interrupted, ClusterLost: as `WorkerGroup.wait_for_all`.
        """
        self._nodes = nodes
        self._disconnect = disconnect
        with connection.cluster_errors():
            self._group = WorkerGroup(
                ActorLauncher(
                    ray.put(worker_config.for_other_hosts()),
                    heartbeat_timeout_seconds,
                    start_timeout_seconds,
                    num_gpus,
                    imports_torch=worker_config.module is not None,
                ),
                slots=slots,
                nodes=nodes,
                min_workers=min_workers,
                start_timeout_seconds=start_timeout_seconds,
                replacement_timeout_seconds=replacement_timeout_seconds,
                interrupted=interrupted,
                emit=emit,
                same_build=worker_config.private is not None,
            )
            self._scheduler = Scheduler(self._group, interrupted, heartbeat_timeout_seconds, emit)
            self._exchange = Exchange(
                self._group,
                self._scheduler,
                siblings_from_nodes=siblings_from_nodes,
                heartbeat_timeout_seconds=heartbeat_timeout_seconds,
                interrupted=interrupted,
                emit=emit,
            )
            try:
                self._group.wait_for_all()
            except BaseException:
                self.close()
                raise

    @property
    def workers(self) -> int:
        return len(self._group.alive)

    @property
    def threads(self) -> int:
        return max((worker.slot.threads for worker in self._group.alive), default=1)

    @property
    def range_count(self) -> int:
        """One range for each idle worker, after adding workers that have become ready."""
        with connection.cluster_errors():
            self._group.match_slots()
            return max(1, len(self._scheduler.idle_workers()))

    def gradient_sums(
        self,
        step: int,
        parameters: Array,
        ranges: Sequence[Range],
        clip_norm: float | None = None,
    ) -> list[RangeSums[GradientSums]]:
        with connection.cluster_errors():
            return self._exchange.gradient_sums(step, parameters, ranges, clip_norm)

    def evaluation_sums(
        self, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]:
        with connection.cluster_errors():
            return self._scheduler.compute("evaluation", 0, parameters, ranges)

    def traffic(self) -> Traffic:
        return self._group.traffic()

    def cluster(self) -> ClusterSeen:
        busy, starting = self._group.locations()
        return ClusterSeen(nodes=list(self._nodes().cpus), busy=busy, starting=starting)

    def close(self) -> None:
        """Kill the actors."""
        self._group.close()
        self._disconnect()


def start_ray_executor(
    start: Start,
    worker_config: WorkerConfig,
    workers: int | WorkerRange,
    interrupted: Callable[[], bool],
    emit: EventSink,
) -> RayExecutor:
    """Connect to the cluster that `start` names and start `workers` there.

    With a range of `workers`, their number follows the nodes of the cluster.

    Raises:
        NoWorkers, Interrupted, ClusterLost: as `RayExecutor`.
    """
    if start.ray_address is None:
        raise ClusterLost("the service gave no address of a cluster.")
    namespace = f"batchgrad-{start.job_id}-{start.attempt}"
    timeout_seconds = start.worker_start_timeout_seconds
    if start.ray_private:  # a private head does not come back: the service starts another
        connection.connect(start.ray_address, namespace, 0.0, interrupted)
    else:
        connection.connect(start.ray_address, namespace, timeout_seconds, interrupted, emit)
    spec = start.spec
    watch = None if start.ray_private else watch_nodes(spec.num_gpus)
    slots: Callable[[Nodes], Sequence[WorkerSlot]]
    if watch and isinstance(workers, WorkerRange):
        min_workers = workers.min
        slots = partial(
            one_per_node, min_workers=min_workers, max_workers=workers.max, threads=spec.threads
        )
    else:
        nodes = watch.nodes if watch else Nodes({"": len(os.sched_getaffinity(0))})
        if isinstance(workers, WorkerRange):
            workers = min(max(sum(nodes.cpus.values()), workers.min), workers.max)
        min_workers = workers
        threads = max_threads(nodes, min_workers) if spec.threads == "auto" else spec.threads
        threads = 1 if spec.num_gpus else threads
        # A private cluster is this machine: workers share it without reserving CPUs.
        fixed = [WorkerSlot("", threads, threads if watch else 0)] * min_workers
        slots = lambda _: fixed  # noqa: E731

    def disconnect() -> None:
        if watch:
            watch.close()
        connection.disconnect()

    return RayExecutor(
        worker_config,
        num_gpus=spec.num_gpus,
        slots=slots,
        nodes=(lambda: watch.nodes) if watch else Nodes,
        min_workers=min_workers,
        siblings_from_nodes=start.siblings_from_nodes,
        heartbeat_timeout_seconds=start.worker_heartbeat_timeout_seconds,
        start_timeout_seconds=timeout_seconds,
        replacement_timeout_seconds=timeout_seconds,
        interrupted=interrupted,
        emit=emit,
        disconnect=disconnect,
    )
