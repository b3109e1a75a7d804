"""A pool of workers on threads of this process, over real sockets and shared memory."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from batchgrad_engine.executors.protocol import ExecutorEvent
from batchgrad_engine.executors.scheduler.scheduler import Scheduler
from batchgrad_engine.executors.transport.shared_memory import (
    SharedMemoryConnection,
    SharedMemoryConnections,
)
from batchgrad_engine.failures import NoWorkers
from batchgrad_workers.runtime import ipc
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import ShardRunner
from tests.workers.jobs import bits, joined

Serve = Callable[[socket.socket, ShardRunner, str], None]


@dataclass
class ThreadWorker:
    """A worker; its thread ends when its connection is closed."""

    number: int
    connection: SharedMemoryConnection
    thread: threading.Thread
    last_contact_at: float = 0.0


@dataclass
class WorkerPool:
    """Workers that were started; a lost one is replaced if there is a `replacement_job`.

    The replacement runs `replacement`. `events` are those of the `Scheduler`.
    """

    alive: list[ThreadWorker] = field(default_factory=list)
    lost: list[tuple[int, str, str]] = field(default_factory=list)
    events: list[ExecutorEvent] = field(default_factory=list)
    unresponsive_numbers: set[int] = field(default_factory=set)
    replacement_job: WorkerConfig | None = None
    replacement: Serve = ipc.serve
    connections: SharedMemoryConnections = field(
        default_factory=lambda: SharedMemoryConnections("here")
    )
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, of: WorkerConfig, serve: Serve = ipc.serve) -> None:
        """Start a worker that runs `serve`."""
        connect_info = self.connections.connect_info()
        sock = ipc.connect(connect_info)

        def work() -> None:
            with closing(ShardRunner(of, 1)) as shard:
                serve(sock, shard, of.precision)

        thread = threading.Thread(target=work)
        thread.start()
        self._threads.append(thread)
        connection = self.connections.connection(connect_info)
        assert connection is not None
        self.alive.append(ThreadWorker(len(self._threads), connection, thread))

    def wait_for_worker(self) -> None:
        if not self.alive:
            raise NoWorkers("no worker is left.")

    def unresponsive(self, workers: Sequence[ThreadWorker]) -> list[ThreadWorker]:
        return [worker for worker in workers if worker.number in self.unresponsive_numbers]

    def remove(self, worker: ThreadWorker, reason: str, detail: str) -> None:
        self.alive.remove(worker)
        worker.connection.close()
        self.lost.append((worker.number, reason, detail))
        assert len(self.lost) < 50, "workers are lost without end"
        if self.replacement_job:
            self.start(self.replacement_job, self.replacement)

    def close(self) -> None:
        for worker in self.alive:
            worker.connection.close()
        self.connections.close()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def scheduler_of(
    pool: WorkerPool,
    interrupted: Callable[[], bool] = lambda: False,
    *,
    heartbeat_timeout_seconds: float = 1.0,
) -> Scheduler[ThreadWorker]:
    return Scheduler(pool, interrupted, heartbeat_timeout_seconds, pool.events.append)


def root(parts: list[Any]) -> list[bytes]:
    """The bits of the sum of these parts."""
    return bits(joined(parts))


def stuck(released: threading.Event) -> Serve:
    """Compute nothing, and end when `released` is set."""

    def serve(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
        with connection:
            assert released.wait(30)

    return serve


def until(what: Callable[[], Any]) -> None:
    """Wait until `what()` is true."""
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def dies(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
    """End after receiving one command."""
    connection.recv(ipc.PACKET_BYTES)
    connection.close()
