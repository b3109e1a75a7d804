"""The way to each worker: through memory on the engine's own machine, through Ray to others."""

import os
from typing import Any

from batchgrad_engine.executors.protocol import Traffic
from batchgrad_engine.executors.ray.transport import RayConnection, RayConnections
from batchgrad_engine.executors.scheduler.protocol import WorkerConnection
from batchgrad_engine.executors.transport.shared_memory import SharedMemoryConnections
from batchgrad_workers.runtime.ipc import ConnectInfo


class WorkerConnections:
    """Both ways, and what travels on them."""

    def __init__(self, own_node: str) -> None:
        """`own_node` is the engine's, by Ray's id."""
        self._memory = _memory_lines(own_node)
        self._ray = RayConnections()

    def offer(self) -> ConnectInfo | None:
        """What a worker needs to come through memory; None if nobody can."""
        return self._memory.offer() if self._memory else None

    def line(self, worker: Any) -> WorkerConnection:
        """The way to a worker that is ready: through memory if it has come to our socket."""
        line = self._memory.line(worker.offer) if self._memory and worker.offer else None
        return line or RayConnection(worker.actor, worker.node, self._ray)

    def traffic(self) -> Traffic:
        """Bytes that travelled since the last call."""
        found = Traffic(self._ray.traffic)
        self._ray.traffic.clear()
        if self._memory:
            found += self._memory.traffic
            self._memory.traffic.clear()
        return found

    def close(self) -> None:
        """Nobody comes any more."""
        if self._memory:
            self._memory.close()


def _memory_lines(node: str) -> SharedMemoryConnections | None:
    """None where the system has no abstract sockets or no memfd."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        return SharedMemoryConnections(node)
    except OSError:
        return None
