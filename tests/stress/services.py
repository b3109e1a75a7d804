"""Start a service for stress tests, connect a client, and wait for conditions."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from batchgrad.client import Client
from batchgrad.contract import Job

PATIENCE_SECONDS = 120


@contextmanager
def service(
    data_dir: Path,
    log: Path,
    settings: Mapping[str, str] | None = None,
    *,
    end: signal.Signals = signal.SIGTERM,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a service without a token; its stderr is appended to `log`, and the signal `end` ends it.

    `settings` are its only BATCHGRAD_… variables.
    """
    command = [sys.executable, "-m", "batchgrad", "serve", "--no-token", "--port", "0"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BATCHGRAD_")}
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [*command, "--stop-with-stdin", "--data-dir", str(data_dir)],
            env=environment | dict(settings or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    with process:
        try:
            yield process
        finally:
            process.send_signal(end)


@contextmanager
def client_of(process: "subprocess.Popen[bytes]") -> Iterator[Client]:
    """Connect a client to a service that was just started, once the service is ready."""
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    with Client(url, reconnect_timeout=0) as client:
        until(client.ready)
        yield client


@contextmanager
def serving(data_dir: Path, log: Path, **settings: str) -> Iterator[Client]:
    """Run a service and connect a client to it."""
    with service(data_dir, log, settings) as process, client_of(process) as client:
        yield client


def until(holds: Callable[..., bool]) -> None:
    """Wait until `holds()` is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until_job(client: Client, job_id: str, holds: Callable[[Job], bool]) -> Job:
    """Wait until `holds` is true for the job; return the job."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds(job := client.job(job_id)):
        assert job.status not in {"failed", "succeeded"}, job
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
    return job
