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
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def held_bytes(self) -> dict[int, int]:
        """Anonymous memory of the service and of each of its descendants, by pid."""
        parents = dict(_processes())
        ours = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
            ours |= more
        return {pid: held for pid in ours if (held := _held_bytes(pid)) is not None}


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


def slowness() -> float:
    """Factor by which CPU work takes longer here than on an idle machine, at least 1."""
    return max(1.0, 1.5 * os.getloadavg()[0] / (os.cpu_count() or 1))


def _processes() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it has ended
                continue
            yield int(entry.name), int(stat.rpartition(")")[2].split()[1])


def _held_bytes(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines["RssAnon"].split()[0]) * 1024 if "RssAnon" in lines else None
