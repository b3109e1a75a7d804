"""Hundreds of connections: followers that read or not, silent clients, unread downloads."""

import logging
import resource
import selectors
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from batchgrad.contract import Job
from tests.cpu_time import slowness
from tests.stress.attacked import Attacked, attacked, repeatedly
from tests.stress.services import until

FOLLOWERS = 500
ROUNDS = 4
ROUND_SECONDS = 4.0
MIB = 2**20
log = logging.getLogger(__name__)


def submit(service: Attacked, folder: Path, outputs: int, **changes: Any) -> Job:
    file = folder / "few.npz"
    random = np.random.default_rng(7)
    np.savez(file, inputs=random.normal(size=(64, 8)).astype("float32"), targets=np.arange(64) % 2)
    service.client.put_dataset("few", file)
    spec = {
        "name": "followed",
        "dataset": "few",
        "model": {"layers": [{"kind": "linear", "out_features": outputs}]},
        "loss": "softmax_cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": 0.01},
        "batch_size": 32,
        "workers": 0,
        "threads": 1,
        **changes,
    }
    return service.client.submit(spec)


def is_served(service: Attacked) -> bool:
    """Whether the service answers another connection."""
    try:
        return service.request("GET /healthz")[0] == 200
    except (ConnectionError, IndexError):  # dropped without an answer
        return False


class Readers(threading.Thread):
    """Read from many connections and discard the data."""

    def __init__(self, connections: list[socket.socket]) -> None:
        super().__init__()
        self._ended = threading.Event()
        self._waiting = selectors.DefaultSelector()
        self.received: set[socket.socket] = set()
        for each in connections:
            self._waiting.register(each, selectors.EVENT_READ)

    def run(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._waiting.select(0.2):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj.recv(2**18):
                    self.received.add(key.fileobj)
                else:
                    self._waiting.unregister(key.fileobj)

    def stop(self) -> None:
        self._ended.set()
        self.join()
        self._waiting.close()


@contextmanager
def followed(service: Attacked, job: Job) -> Iterator[Readers]:
    """Follow the job on FOLLOWERS connections while the block runs; half of them read nothing."""
    get = f"GET /v1/jobs/{job.id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    connections = [service.connect(get) for _ in range(FOLLOWERS)]
    readers = Readers(connections[::2])
    readers.start()
    try:
        until(lambda: len(readers.received) == FOLLOWERS // 2)
        yield readers
    finally:
        readers.stop()
        for each in connections:
            each.close()


def speed(service: Attacked, job: Job) -> tuple[float, float]:
    """The job's steps a second and the service's CPU use during ROUND_SECONDS."""
    first, cpu = service.client.last_step(job.id), service.cpu_seconds()
    started = time.monotonic()
    time.sleep(ROUND_SECONDS)
    last, used = service.client.last_step(job.id), service.cpu_seconds() - cpu
    passed = time.monotonic() - started
    assert first is not None
    assert last is not None
    steps = (last.step - first.step) / (last.time - first.time).total_seconds()
    return steps, used / passed


def test_five_hundred_followers_slow_neither_requests_nor_the_job(tmp_path: Path) -> None:
    """Alone and beside followers by turns, as other work of the machine is not in every round."""
    waits: dict[str, list[float]] = {"alone": [], "beside": []}
    ratios: list[float] = []
    more: list[float] = []
    with attacked(tmp_path) as service:
        job = submit(service, tmp_path, 4000, steps=10**7)  # large steps make few rows
        until(lambda: service.client.job(job.id).step > 100)

        def measure(where: str) -> tuple[float, float]:
            waited: list[float] = []

            def request_job() -> None:
                started = time.monotonic()
                assert service.request(f"GET /v1/jobs/{job.id}")[0] == 200
                waited.append(time.monotonic() - started)

            with repeatedly(request_job, 0.05):
                found = speed(service, job)
            waits[where].append(sorted(waited)[-2])  # the longest may be that of one short stall
            return found

        for _ in range(ROUNDS):
            alone, idle = measure("alone")
            with followed(service, job):
                beside, busy = measure("beside")
            ratios.append(beside / alone)
            more.append((busy - idle) / slowness())
        service.client.cancel(job.id)
    log.info("speed %s, CPUs %s, waits %s", ratios, more, waits)
    assert min(waits["beside"]) < min(waits["alone"]) + 0.25
    assert statistics.median(more) < 0.5  # 0.05 to 0.31 of a CPU, the most where others use it
    assert max(ratios) > 0.6  # the readers' own thread takes CPU time as well


def test_silent_connections_leave_the_service_working(tmp_path: Path) -> None:
    with attacked(tmp_path, BATCHGRAD_MAX_CONNECTIONS="100") as service:
        job = submit(service, tmp_path, 2, steps=10**7)
        until(lambda: service.client.job(job.id).status == "running")
        silent = [service.connect() for number in range(400)]
        for each in silent[:100:2]:
            each.sendall(b"GET / HT")
        assert silent[100].recv(100).startswith(b"HTTP/1.1 503")
        assert not is_served(service)
        until(lambda: is_served(service))  # once the silent connections time out
        assert service.client.job(job.id).status == "running"
        service.client.cancel(job.id)
    assert service.log.stat().st_size < 100_000
    assert "Traceback" not in service.log.read_text()


def test_the_service_stays_within_its_limit_of_descriptors(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with attacked(tmp_path, descriptors=700) as service:
            for _ in range(1100):
                service.connect()
            until(lambda: is_served(service))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "Traceback" not in service.log.read_text()


def test_unread_downloads_are_not_held_in_memory(tmp_path: Path) -> None:
    with attacked(tmp_path) as service:
        job = submit(service, tmp_path, 1_000_000, steps=1, shortcuts=[])  # 36 MB of parameters
        until(lambda: service.client.job(job.id).status == "succeeded")
        status, length = service.request(f"GET /v1/jobs/{job.id}/parameters")
        assert (status, length > 36_000_000) == (200, True)
        before = service.held_bytes()[service.process.pid]
        get = f"GET /v1/jobs/{job.id}/parameters HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        unread = [service.connect(get) for _ in range(60)]
        for each in unread:
            assert each.recv(9, socket.MSG_PEEK | socket.MSG_WAITALL) == b"HTTP/1.1 "
        grown = service.held_bytes()[service.process.pid] - before
        log.info("60 unread downloads of %d MB: %d MiB", length // 10**6, grown >> 20)
    assert grown < 200 * MIB
