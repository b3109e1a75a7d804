"""Workers on threads of this process, at the other end of real sockets and shared memory."""

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
from batchgrad_workers.runtime.shard import ShardRunner, WorkerConfig
from tests.workers.jobs import bits, joined

Serve = Callable[[socket.socket, ShardRunner, str], None]


@dataclass
class Threaded:
    """A worker; its thread ends when the connection does."""

    number: int
    line: SharedMemoryConnection
    thread: threading.Thread
    heard_at: float = 0.0


@dataclass
class WorkerPool:
    """Those who were hired; in a lost one's place one for the job `comes_instead`, if any.

    That one does as `who`. `told` is what a `Scheduler` tells.
    """

    alive: list[Threaded] = field(default_factory=list)
    lost: list[tuple[int, str, str]] = field(default_factory=list)
    told: list[ExecutorEvent] = field(default_factory=list)
    silent_ones: set[int] = field(default_factory=set)
    comes_instead: WorkerConfig | None = None
    who: Serve = ipc.serve
    lines: SharedMemoryConnections = field(default_factory=lambda: SharedMemoryConnections("here"))
    _threads: list[threading.Thread] = field(default_factory=list)

    def hire(self, of: WorkerConfig, serve: Serve = ipc.serve) -> None:
        """One more."""
        offer = self.lines.offer()
        connection = ipc.connect(offer)

        def work() -> None:
            with closing(ShardRunner(of, 1)) as shard:
                serve(connection, shard, of.precision)

        thread = threading.Thread(target=work)
        thread.start()
        self._threads.append(thread)
        line = self.lines.line(offer)
        assert line is not None
        self.alive.append(Threaded(len(self._threads), line, thread))

    def somebody(self) -> None:
        if not self.alive:
            raise NoWorkers("nobody is left.")

    def silent(self, workers: Sequence[Any]) -> list[Any]:
        return [worker for worker in workers if worker.number in self.silent_ones]

    def lose(self, worker: Any, reason: str, detail: str) -> None:
        self.alive.remove(worker)
        worker.line.close()
        self.lost.append((worker.number, reason, detail))
        if self.comes_instead:
            self.hire(self.comes_instead, self.who)

    def close(self) -> None:
        for worker in self.alive:
            worker.line.close()
        self.lines.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


def dispatch(
    team: WorkerPool, interrupted: Any = lambda: False, *, silence_seconds: float = 1.0
) -> Scheduler:
    return Scheduler(team, interrupted, silence_seconds, team.told.append)


def root(parts: list[Any]) -> list[bytes]:
    """The exact contents of what these parts add up to."""
    return bits(joined(parts))


def stuck(released: threading.Event) -> Serve:
    """Computes nothing, and goes when it is let."""

    def serve(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
        with connection:
            assert released.wait(30)

    return serve


def until(what: Callable[[], Any]) -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def dies(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
    """Takes its work to the grave."""
    connection.recv(ipc.PACKET_BYTES)
    connection.close()
