"""Ray as `auto` needs it: asked for, imported and connected to only when it may be of use."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from batchgrad_engine.executors.auto.configs import ParallelConfig
from batchgrad_engine.executors.protocol import ClusterLost, EventSink, Executor
from batchgrad_engine.executors.ray.placement import Nodes, WorkerSlot, with_threads
from batchgrad_engine.messages import ClusterFound, Start
from batchgrad_workers.runtime.shard import WorkerConfig, microbatches

if TYPE_CHECKING:
    from batchgrad_engine.executors.ray.nodes import NodeWatch

PRIVATE_COST_SECONDS = 10.0
"""A head, the import of Ray and the actors, on the cores that train meanwhile."""

NAMED_COST_SECONDS = 4.0

PATIENCE_SECONDS = 6.0
"""For a new worker where all were lost: the engine can do without them."""

Going = Callable[[], bool]
"""Whether nobody wants to wait any more."""

FindCluster = Callable[[int, Going], ClusterFound]
"""Asks the service for its private cluster, with room for so many workers. Raises Interrupted."""


class Cluster(Protocol):
    """Every call may take seconds; there is one at a time, from changing threads."""

    @property
    def cost_seconds(self) -> float:
        """About how much training time is lost by trying it."""

    @property
    def cpus(self) -> int | None:
        """How many there are, where that is known before anything is started."""

    @property
    def changes(self) -> bool:
        """Whether nodes may come and go; crews follow them by themselves."""

    def nodes(self, interrupted: Going) -> Mapping[str, int]:
        """CPUs of every node. Raises ClusterLost, Interrupted."""

    def hire(self, plan: ParallelConfig, interrupted: Going) -> Executor:
        """A crew as planned, once `nodes` was asked. Raises NoWorkers, ClusterLost, Interrupted."""

    def leave(self) -> None:
        """End the connection, if there is one; `nodes` makes another."""


class LazyRayCluster:
    """The cluster that `start` names, or else the service's private one."""

    def __init__(
        self,
        start: Start,
        setup: WorkerConfig,
        find_private: FindCluster | None,
        cores: int,
        tell: EventSink,
    ) -> None:
        """`cores` are this process's own."""
        self._start = start
        self._setup = setup
        self._find_private = find_private
        self._cores = cores
        self._tell = tell
        self._private = start.ray_address is None
        self._connected = False
        self._watch: NodeWatch | None = None
        self.cost_seconds = PRIVATE_COST_SECONDS if self._private else NAMED_COST_SECONDS
        self.cpus = cores if self._private else None
        self.changes = not self._private

    def nodes(self, interrupted: Going) -> Mapping[str, int]:
        if not self._connected:
            self._connect(interrupted)
        return self._watch.nodes.cpus if self._watch else {"": self._cores}

    def hire(self, plan: ParallelConfig, interrupted: Going) -> Executor:
        from batchgrad_engine.executors.ray.executor import (  # noqa: PLC0415  # slow
            RayExecutor,
        )

        watch, fixed = self._watch, [WorkerSlot("", plan.threads, 0)] * plan.workers
        work = microbatches(self._setup.batch_size, self._setup.microbatch_size)
        return RayExecutor(
            self._setup,
            seats=(lambda nodes: with_threads(nodes, plan.threads, work))
            if watch
            else (lambda _: fixed),
            nodes=(lambda: watch.nodes) if watch else Nodes,
            silence_seconds=self._start.worker_heartbeat_timeout_seconds,
            start_seconds=self._start.worker_start_timeout_seconds,
            patience_seconds=PATIENCE_SECONDS,
            interrupted=interrupted,
            tell=self._tell,
        )

    def leave(self) -> None:
        if self._watch:
            self._watch.close()
            self._watch = None
        if self._connected:
            self._connected = False
            from batchgrad_engine.executors.ray import connection  # noqa: PLC0415  # slow

            connection.leave()

    def _connect(self, interrupted: Going) -> None:
        address = self._start.ray_address
        if address is None:
            if self._find_private is None:
                raise ClusterLost("no cluster was named, and there is nobody to ask for one.")
            found = self._find_private(self._cores, interrupted)
            if found.address is None:
                raise ClusterLost(found.detail)
            address = found.address
            os.environ.update(found.environment)  # Ray reads it when it is imported
            os.environ.pop("RAY_AUTH_TOKEN", None)  # by value it would win over the token's file
        from batchgrad_engine.executors.ray import connection  # noqa: PLC0415  # slow

        self._connected = True
        namespace = f"batchgrad-{self._start.job_id}-{self._start.attempt}"
        patience = 0.0 if self._private else self._start.worker_start_timeout_seconds
        connection.connect(address, namespace, patience, interrupted)
        if not self._private:
            from batchgrad_engine.executors.ray import nodes  # noqa: PLC0415  # slow

            self._watch = nodes.watch()
