"""Connect each worker: through shared memory on the engine's node, through Ray elsewhere."""

import os
from collections.abc import Iterable

from batchgrad_engine.executors.protocol import Traffic
from batchgrad_engine.executors.ray.protocol import GroupWorker
from batchgrad_engine.executors.ray.transport import RayConnection, RayConnections
from batchgrad_engine.executors.scheduler.protocol import WorkerConnection
from batchgrad_engine.executors.transport.shared_memory import SharedMemoryConnections
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.ipc import ConnectInfo


class WorkerConnections:
    """Opens connections of both transports and counts their bytes."""

    def __init__(self, own_node: str) -> None:
        """`own_node` is the Ray id of the engine's node."""
        self._memory = _shared_memory_connections(own_node)
        self._ray = RayConnections()

    def share_next(self) -> None:
        """Have workers on other nodes share the exchange of the next request's arrays."""
        self._ray.shares_next = True

    def release(self) -> None:
        """Drop all references to the last request's θ."""
        self._ray.release()

    def count_sums(self, sums: Iterable[GradientSums]) -> None:
        """Count the bytes of sums that were fetched from workers on other nodes."""
        self._ray.traffic["in", "ray"] += sum(each.nbytes for each in sums)

    def connect_info(self) -> ConnectInfo | None:
        """What a worker needs to use shared memory; None if this system can't."""
        return self._memory.connect_info() if self._memory else None

    def open(self, worker: GroupWorker) -> WorkerConnection:
        """The connection to a ready worker: shared memory if it connected to the socket."""
        connection = None
        if self._memory and worker.connect_info:
            connection = self._memory.connection(worker.connect_info)
        return connection or RayConnection(worker.handle, worker.node, self._ray)

    def traffic(self) -> Traffic:
        """Bytes transferred since the last call."""
        found = Traffic(self._ray.traffic)
        self._ray.traffic.clear()
        if self._memory:
            found += self._memory.traffic
            self._memory.traffic.clear()
        return found

    def close(self) -> None:
        """Accept no more workers."""
        if self._memory:
            self._memory.close()


def _shared_memory_connections(node: str) -> SharedMemoryConnections | None:
    """None where the system has no abstract sockets or no memfd."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        return SharedMemoryConnections(node)
    except OSError:
        return None
