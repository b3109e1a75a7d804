"""A Parquet file is pushed and trained on in little memory, whatever its size."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import pytest
import yaml

from batchgrad.client import Client
from batchgrad.http.uploads import PIECE_BYTES
from tests.large.parquet_file import write_parquet, write_part
from tests.large.process_memory import MB, Role, Watched, watching
from tests.stress.services import client_of, service

MOST_HELD: dict[Role, int] = {"service": 500 * MB, "client": 200 * MB, "operation": 500 * MB}
"""An operation may take max_request_memory_bytes, 384 MiB, beside what its process begins with."""

SETTINGS = {"BATCHGRAD_MAX_DATASET_BYTES": str(2**37), "BATCHGRAD_LOG_LEVEL": "debug"}
SPEC = {
    "name": "big",
    "dataset": "big",
    "model": {
        "layers": [
            {"kind": "linear", "out_features": 32},
            {"kind": "relu"},
            {"kind": "linear", "out_features": 2},
        ]
    },
    "loss": "softmax_cross_entropy",
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "batch_size": 4096,
    "steps": 300,
    "standardize": True,
    "validation": {"fraction": 0.001},
}


class Phases:
    """Prints each phase's time, and what the processes had in memory; checks the bounds."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._began = time.monotonic()

    def end(self, name: str) -> None:
        print(f"\n{name}: {time.monotonic() - self._began:.1f} s")  # noqa: T201
        peaks = dict(self._watched.peaks)
        for role, peak in peaks.items():
            print(f"  {role:11} {peak}")  # noqa: T201
        for role, most in MOST_HELD.items():
            assert role not in peaks or peaks[role].held_bytes < most, (name, role, peaks[role])
        self._watched.restart()
        self._began = time.monotonic()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Client]]:
    log = tmp_path / "log"
    with service(tmp_path / "data", log, SETTINGS) as process, client_of(process) as client:
        yield process, client


@dataclass(frozen=True)
class Commands:
    """Runs commands of the client against a service."""

    url: str

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "BATCHGRAD_URL": self.url}
        command = [sys.executable, "-m", "batchgrad", *words]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def run(self, *words: str) -> None:
        with self.start(*words) as process:
            assert process.wait() == 0, words


def test_a_large_table_is_pushed_and_trained_on(
    tmp_path: Path, gigabytes: float, served: tuple["subprocess.Popen[bytes]", Client]
) -> None:
    process, client = served
    file, part = tmp_path / "big.parquet", tmp_path / "part.parquet"
    rows = write_parquet(file, gigabytes)
    write_part(part, 10_000)
    length = file.stat().st_size
    spec = tmp_path / "big.yaml"
    spec.write_text(yaml.safe_dump(SPEC))
    commands = Commands(client.url)
    push = ["datasets", "push", "big", str(file), "--target", "answer", "--timeout", "3600"]
    push += ["--missing", "n94=median", *(f"--missing=n{n}=mean" for n in range(90, 94))]
    with watching(process.pid, os.getpid()) as watched:
        phases = Phases(watched)
        _kill_in_the_middle(commands.start(*push), tmp_path / "data" / "uploads", length, phases)
        with commands.start(*push) as client_process:
            _wait(client_process, lambda: not list((tmp_path / "data" / "uploads").glob("*.part")))
            phases.end("hashed again, sent the rest")
            file.unlink()  # the service has it, and the disk needs room for the arrays
            assert client_process.wait() == 0
        phases.end(f"pushed {rows} rows, {length / 1e9:.2f} GB")
        # Nothing that had arrived before the client was killed was sent again.
        assert sent_pieces(tmp_path / "log") <= ceil(length / PIECE_BYTES) + 1
        for workers in (0, 2):
            train = ["submit", str(spec), "--watch", "--set", f"workers={workers}"]
            commands.run(*train)
            phases.end(f"trained with {workers} workers")
        job = next(iter(client.jobs()))
        assert job.validation_accuracy is not None
        assert job.validation_accuracy > 0.7
        to = tmp_path / "predicted.csv"
        commands.run("predict", job.id, str(part), "--to", str(to))
        phases.end("predicted 10000 rows")
        assert len(to.read_text().splitlines()) == 1 + 10_000


def times(client: Client, job_id: str) -> str:
    """When a job's events happened, in seconds since the first."""
    events = list(client.events(job_id))
    first = events[0].time
    return ", ".join(
        f"{event.data.get('status', event.type)} {(event.time - first).total_seconds():.1f}"
        for event in events
    )


def _kill_in_the_middle(
    client: "subprocess.Popen[bytes]", uploads: Path, length: int, phases: Phases
) -> None:
    """Kill a client that pushes a file when half of it has arrived."""

    def arrived() -> int:
        return max((path.stat().st_size for path in uploads.glob("*.part")), default=-1)

    with client:
        _wait(client, lambda: arrived() >= 0)
        phases.end("hashed")
        _wait(client, lambda: arrived() > length // 2)
        client.send_signal(signal.SIGKILL)
    assert length > arrived() > length // 2
    phases.end("sent half, killed")


def _wait(process: "subprocess.Popen[bytes]", holds: Callable[[], bool]) -> None:
    """Wait until `holds()`, while the process runs."""
    while not holds():
        assert process.poll() is None
        time.sleep(0.01)


def sent_pieces(log: Path) -> int:
    """How many pieces of files have arrived, by the service's log."""
    return sum("PATCH" in line for line in log.read_text().splitlines())
