"""The Ray cluster of `auto`: requested, imported and connected to only when it may save time."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from batchgrad_engine.executors.auto.configs import ParallelConfig
from batchgrad_engine.executors.protocol import ClusterLost, EventSink, Executor
from batchgrad_engine.executors.ray.placement import Nodes, WorkerSlot, with_threads
from batchgrad_engine.messages import ClusterFound, Start
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import microbatches

if TYPE_CHECKING:
    from batchgrad_engine.executors.ray.nodes import NodeWatch

PRIVATE_COST_SECONDS = 10.0
"""Starting a head, importing Ray and starting actors, on the cores that train meanwhile."""

NAMED_COST_SECONDS = 4.0
"""Importing Ray and starting actors on a cluster that is already there."""

REPLACEMENT_TIMEOUT_SECONDS = 6.0
"""How long to wait for a new worker when all were lost; then the engine continues alone."""

IsInterrupted = Callable[[], bool]
"""Whether to stop waiting."""

FindCluster = Callable[[int, IsInterrupted], ClusterFound]
"""Requests the service's private cluster, with a number of workers. Raises Interrupted."""


class Cluster(Protocol):
    """A cluster. Each call may take seconds; calls come one at a time, from different threads."""

    @property
    def cost_seconds(self) -> float:
        """About how much training time is lost by trying Ray."""

    @property
    def cpus(self) -> int | None:
        """The number of CPUs, if known before anything is started."""

    @property
    def is_elastic(self) -> bool:
        """Whether nodes may join and leave; worker groups follow them by themselves."""

    def nodes(self, interrupted: IsInterrupted) -> Mapping[str, int]:
        """Connect if needed; the CPUs of every node. Raises ClusterLost, Interrupted."""

    def launch(self, config: ParallelConfig, interrupted: IsInterrupted) -> Executor:
        """Start the workers of `config`, after a call of `nodes`.

        Raises:
            NoWorkers, ClusterLost, Interrupted: no worker could be started.
        """

    def disconnect(self) -> None:
        """End the connection, if there is one; `nodes` connects again."""


class LazyRayCluster:
    """The cluster that `start` names, else the service's private one."""

    def __init__(
        self,
        start: Start,
        worker_config: WorkerConfig,
        find_private: FindCluster | None,
        cores: int,
        emit: EventSink,
    ) -> None:
        """`cores` are those of this machine."""
        self._start = start
        self._worker_config = worker_config
        self._find_private = find_private
        self._cores = cores
        self._emit = emit
        self._private = start.ray_address is None
        self._connected = False
        self._watch: NodeWatch | None = None
        self.cost_seconds = PRIVATE_COST_SECONDS if self._private else NAMED_COST_SECONDS
        self.cpus = cores if self._private else None
        self.is_elastic = not self._private

    def nodes(self, interrupted: IsInterrupted) -> Mapping[str, int]:
        if not self._connected:
            self._connect(interrupted)
        return self._watch.nodes.cpus if self._watch else {"": self._cores}

    def launch(self, config: ParallelConfig, interrupted: IsInterrupted) -> Executor:
        from batchgrad_engine.executors.ray.executor import (  # noqa: PLC0415  # slow
            RayExecutor,
        )

        watch, fixed = self._watch, [WorkerSlot("", config.threads, 0)] * config.workers
        work = microbatches(self._worker_config.batch_size, self._worker_config.microbatch_size)
        return RayExecutor(
            self._worker_config,
            slots=(lambda nodes: with_threads(nodes, config.threads, work))
            if watch
            else (lambda _: fixed),
            nodes=(lambda: watch.nodes) if watch else Nodes,
            siblings_from_nodes=self._start.siblings_from_nodes,
            heartbeat_timeout_seconds=self._start.worker_heartbeat_timeout_seconds,
            start_timeout_seconds=self._start.worker_start_timeout_seconds,
            replacement_timeout_seconds=REPLACEMENT_TIMEOUT_SECONDS,
            interrupted=interrupted,
            emit=self._emit,
        )

    def disconnect(self) -> None:
        if self._watch:
            self._watch.close()
            self._watch = None
        if self._connected:
            self._connected = False
            from batchgrad_engine.executors.ray import connection  # noqa: PLC0415  # slow

            connection.disconnect()

    def _connect(self, interrupted: IsInterrupted) -> None:
        address = self._start.ray_address
        if address is None:
            if self._find_private is None:
                raise ClusterLost("no cluster was named, and the service has no private one.")
            found = self._find_private(self._cores, interrupted)
            if found.address is None:
                raise ClusterLost(found.detail)
            address = found.address
            os.environ.update(found.environment)  # Ray reads it when it is imported
            os.environ.pop("RAY_AUTH_TOKEN", None)  # it would override the token's file
        from batchgrad_engine.executors.ray import connection  # noqa: PLC0415  # slow

        self._connected = True
        namespace = f"batchgrad-{self._start.job_id}-{self._start.attempt}"
        timeout_seconds = 0.0 if self._private else self._start.worker_start_timeout_seconds
        connection.connect(address, namespace, timeout_seconds, interrupted)
        if not self._private:
            from batchgrad_engine.executors.ray import nodes  # noqa: PLC0415  # slow

            self._watch = nodes.watch()
