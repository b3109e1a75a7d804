"""Ray actors compute, each with some threads, wherever the cluster has a seat for one."""

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
from batchgrad_engine.executors.ray.actor import Actors
from batchgrad_engine.executors.ray.nodes import watch as watch_nodes
from batchgrad_engine.executors.ray.placement import (
    Nodes,
    WorkerSlot,
    most_threads,
    one_a_node,
)
from batchgrad_engine.executors.ray.worker_group import WorkerGroup
from batchgrad_engine.executors.scheduler.scheduler import Scheduler
from batchgrad_engine.messages import ClusterSeen, Start
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.gradients import GradientSums
from batchgrad_workers.runtime.shard import EvaluationSums, RangeSums, WorkerConfig


class RayExecutor:
    """A crew on the cluster that this process is connected to."""

    kind: Kind = "ray"

    def __init__(
        self,
        setup: WorkerConfig,
        *,
        seats: Callable[[Nodes], Sequence[WorkerSlot]],
        nodes: Callable[[], Nodes] = Nodes,
        least: int = 1,
        silence_seconds: float,
        start_seconds: float,
        patience_seconds: float,
        interrupted: Callable[[], bool],
        tell: EventSink,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the actors; returns when all of them are there. `leave` is called at the end.

        `nodes` tells of the cluster at present; the others are as in `WorkerGroup`.

        Raises:
            NoWorkers, Interrupted, ClusterLost: as `WorkerGroup.everybody`.
        """
        self._nodes = nodes
        self._leave = leave
        with connection.cluster_errors():
            self._crew = WorkerGroup(
                Actors(ray.put(setup), silence_seconds, start_seconds),
                seats=seats,
                nodes=nodes,
                least=least,
                start_seconds=start_seconds,
                patience_seconds=patience_seconds,
                interrupted=interrupted,
                tell=tell,
            )
            self._dispatch = Scheduler(self._crew, interrupted, silence_seconds, tell)
            try:
                self._crew.everybody()
            except BaseException:
                self.close()
                raise

    @property
    def workers(self) -> int:
        return len(self._crew.alive)

    @property
    def threads(self) -> int:
        return max((worker.seat.threads for worker in self._crew.alive), default=1)

    @property
    def shares(self) -> int:
        """How many are free now; those that have come since the last step are counted in."""
        with connection.cluster_errors():
            self._crew.follow()
            return max(1, len(self._dispatch.free()))

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[GradientSums]]:
        with connection.cluster_errors():
            return self._dispatch.compute("gradient", step, parameters, ranges)

    def evaluation_sums(
        self, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]:
        with connection.cluster_errors():
            return self._dispatch.compute("evaluation", 0, parameters, ranges)

    def traffic(self) -> Traffic:
        return self._crew.traffic()

    def cluster(self) -> ClusterSeen:
        busy, starting = self._crew.places()
        return ClusterSeen(nodes=list(self._nodes().cpus), busy=busy, starting=starting)

    def close(self) -> None:
        """Kill the actors."""
        self._crew.dismiss()
        self._leave()


def crew(
    start: Start,
    setup: WorkerConfig,
    workers: int | WorkerRange,
    interrupted: Callable[[], bool],
    tell: EventSink,
) -> RayExecutor:
    """So many workers on the cluster that `start` names; a range follows a cluster that changes.

    Raises:
        NoWorkers, Interrupted, ClusterLost: as `RayExecutor`.
    """
    if start.ray_address is None:
        raise ClusterLost("the service named none.")
    namespace = f"batchgrad-{start.job_id}-{start.attempt}"
    patience = start.worker_start_timeout_seconds
    if start.ray_private:  # a head that is gone stays so: the service starts another, elsewhere
        connection.connect(start.ray_address, namespace, 0.0, interrupted)
    else:
        connection.connect(start.ray_address, namespace, patience, interrupted, tell)
    spec = start.spec
    watch = None if start.ray_private else watch_nodes()
    seats: Callable[[Nodes], Sequence[WorkerSlot]]
    if watch and isinstance(workers, WorkerRange):
        least = workers.min
        seats = partial(one_a_node, least=least, most=workers.max, threads=spec.threads)
    else:
        nodes = watch.nodes if watch else Nodes({"": len(os.sched_getaffinity(0))})
        if isinstance(workers, WorkerRange):
            workers = min(max(sum(nodes.cpus.values()), workers.min), workers.max)
        least = workers
        threads = most_threads(nodes, least) if spec.threads == "auto" else spec.threads
        # A private cluster is this machine: workers share it without reserving CPUs.
        fixed = [WorkerSlot("", threads, threads if watch else 0)] * least
        seats = lambda _: fixed  # noqa: E731

    def leave() -> None:
        if watch:
            watch.close()
        connection.leave()

    return RayExecutor(
        setup,
        seats=seats,
        nodes=(lambda: watch.nodes) if watch else Nodes,
        least=least,
        silence_seconds=start.worker_heartbeat_timeout_seconds,
        start_seconds=patience,
        patience_seconds=patience,
        interrupted=interrupted,
        tell=tell,
        leave=leave,
    )
