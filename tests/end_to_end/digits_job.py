"""The demo's job, in the variants that must all end with the same bits."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batchgrad.client import Client
from batchgrad.contract import Event, Job
from batchgrad.local import demo

PATIENCE_SECONDS = 60.0

ENDLESS = {"epochs": 100_000}
"""No other length is surely long enough to be still going when a test interferes."""


def spec(workers: Any = 0, **changes: Any) -> dict[str, Any]:
    """Digits, 250 examples a step: no multiple of the microbatch of 64, nor of the dataset."""
    return {**demo.spec(0, None, 12), "workers": workers, "batch_size": 250, **changes}


Bits = tuple[str, str]


def bits(job: Job) -> Bits:
    """Digests of the parameters that a job keeps, its best, and of its last."""
    assert job.parameters_digest is not None
    assert job.last_parameters_digest is not None
    return job.parameters_digest, job.last_parameters_digest


def trained_bits(client: Client, **changes: Any) -> Bits:
    """Train to the end."""
    return bits(client.wait(client.submit(spec(**changes)).id, timeout=PATIENCE_SECONDS))


@contextmanager
def under_way(client: Client, steps: int, **changes: Any) -> Iterator[Job]:
    """A long job once it has done some steps; cancelled if the test fails."""
    job = client.submit(spec(**changes))
    try:
        yield until(client, job.id, lambda job: job.step >= steps)
    finally:
        if client.job(job.id).status not in {"succeeded", "failed", "cancelled"}:
            client.cancel(job.id)


def until(client: Client, job_id: str, condition: Any) -> Job:
    """The job as soon as the condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition(job := client.job(job_id)):
        assert job.status not in {"failed", "cancelled", "succeeded"}, job
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    return job


def get_on(client: Client, job_id: str) -> None:
    """Wait until the job has done thirty steps more, and runs."""
    enough = client.job(job_id).step + 30
    until(client, job_id, lambda job: job.status == "running" and job.step >= enough)


def pause(client: Client, job_id: str) -> Job:
    """The job once it is paused."""
    client.pause(job_id)
    return until(client, job_id, lambda job: job.status == "paused")


def kill_engine(data_folder: Path, job_id: str) -> None:
    """End the process that trains a job, of a service with its data below `data_folder`."""
    (lock,) = data_folder.glob(f"*/jobs/{job_id}/engine.lock")
    os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)


def undisturbed(client: Client, steps: int) -> str:
    """The digest of the last parameters after so many steps that nobody interferes with.

    The best of a paused job can be others: it is not evaluated within an epoch.
    """
    return trained_bits(client, workers=0, threads=1, epochs=None, steps=steps)[1]


def happened(client: Client, job_id: str, kind: str) -> list[Event]:
    """Events of one type."""
    return [event for event in client.events(job_id, progress=True) if event.type == kind]
