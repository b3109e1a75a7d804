"""A service under attack: raw connections to it, and the memory and CPU time of its processes."""

import os
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from batchgrad.client import Client
from tests.stress.services import client_of, service

PATIENCE_SECONDS = 60.0


@dataclass
class Attacked:
    """A running service without a token."""

    process: "subprocess.Popen[bytes]"
    port: int
    client: Client
    log: Path
    opened: list[socket.socket] = field(default_factory=list)

    def connect(self, *sent: bytes) -> socket.socket:
        """Open a connection and send `sent`; the connection is closed with the service."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        self.opened.append(connection)
        for data in sent:
            connection.sendall(data)
        return connection

    def request(
        self, head: str, body: bytes = b"", kind: str = "application/json"
    ) -> tuple[int, int]:
        """Send a request that starts with `head`; return the answer's status and length."""
        message = (
            f"{head} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with self.connect(message.encode() + body) as connection:
            first, length = b"", 0
            while data := connection.recv(2**20):
                first = first or data
                length += len(data)
        return int(first.split()[1]), length

    def cpu_seconds(self) -> float:
        """CPU seconds of the service's own process, without its child processes."""
        return sum(_stats()[self.process.pid].cpu_seconds[:2])

    def family_cpu_seconds(self) -> float:
        """CPU seconds of the service and of all its descendants, also of those that ended."""
        return sum(sum(stat.cpu_seconds) for stat in self._family().values())

    def held_bytes(self) -> dict[int, int]:
        """Anonymous memory of the service and of each of its descendants, by pid."""
        return {pid: held for pid in self._family() if (held := _held_bytes(pid)) is not None}

    def _family(self) -> "dict[int, _Stat]":
        stats = _stats()
        ours = {self.process.pid}
        while more := {pid for pid, stat in stats.items() if stat.parent in ours} - ours:
            ours |= more
        return {pid: stats[pid] for pid in ours & stats.keys()}


@contextmanager
def attacked(
    folder: Path, *, descriptors: int | None = None, **settings: str
) -> Iterator[Attacked]:
    """Run a service and kill it at the end; `settings` are BATCHGRAD_… variables."""
    log = folder / "service.log"
    with service(folder / "data", log, settings, end=signal.SIGKILL) as process:
        if descriptors is not None:
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
        with client_of(process) as client:
            under_attack = Attacked(process, int(client.url.rsplit(":", 1)[1]), client, log)
            try:
                yield under_attack
            finally:
                for connection in under_attack.opened:
                    connection.close()


@contextmanager
def repeatedly(work: Callable[[], None], pause_seconds: float) -> Iterator[None]:
    """Call `work` repeatedly in another thread while the block runs; raise its error, if any."""
    ended, failures = threading.Event(), list[BaseException]()

    def repeat() -> None:
        try:
            while not ended.wait(pause_seconds):
                work()
        except BaseException as failure:  # noqa: BLE001 - it is raised below
            failures.append(failure)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failures:
        raise failures[0]


class _Stat(NamedTuple):
    """Of /proc/PID/stat: CPU seconds are its own, user and system, and those of ended children."""

    parent: int
    cpu_seconds: tuple[float, ...]


def _stats() -> dict[int, _Stat]:
    """All processes, by pid."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            ticks = os.sysconf("SC_CLK_TCK")
            found[int(entry.name)] = _Stat(int(stat[1]), tuple(int(n) / ticks for n in stat[11:15]))
    return found


def _held_bytes(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines["RssAnon"].split()[0]) * 1024 if "RssAnon" in lines else None
