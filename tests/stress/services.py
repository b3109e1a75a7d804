"""A real service, and jobs on it that something happens to."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from batchgrad.client import Client
from batchgrad.contract import Job

PATIENCE_SECONDS = 120


@contextmanager
def serving(data_dir: Path, log: Path, **environment: str) -> Iterator[Client]:
    """A client of a service of its own, which logs to a file."""
    command = [sys.executable, "-m", "batchgrad", "serve", "--port=0", f"--data-dir={data_dir}"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    assert process.stdout is not None
    with process.stdout:
        try:
            with Client(json.loads(process.stdout.readline())["url"]) as client:
                yield client
        finally:
            process.terminate()
            process.wait()


def until(client: Client, job_id: str, holds: Callable[[Job], bool]) -> Job:
    """The job as soon as that holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds(job := client.job(job_id)):
        assert job.status not in {"failed", "succeeded"}, job
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
    return job
