"""The demo's job in variants that must end with the same bits, and helpers for its tests."""

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
from batchgrad.user_machine import demo

PATIENCE_SECONDS = 60.0

ENDLESS = {"epochs": 100_000}
"""A job that cannot end before a test disturbs it."""


def spec(workers: Any = 0, **changes: Any) -> dict[str, Any]:
    """The demo's job with 250 examples a step: no multiple of 64, and no divisor of the dataset."""
    return {**demo.spec(0, None, 12), "workers": workers, "batch_size": 250, **changes}


Bits = tuple[str, str]


def bits(job: Job) -> Bits:
    """Digests of the parameters that a job keeps (its best) and of its last parameters."""
    assert job.parameters_digest is not None
    assert job.last_parameters_digest is not None
    return job.parameters_digest, job.last_parameters_digest


def trained_bits(client: Client, **changes: Any) -> Bits:
    """Train a job to its end; return its digests."""
    return bits(client.wait(client.submit(spec(**changes)).id, timeout=PATIENCE_SECONDS))


@contextmanager
def under_way(client: Client, steps: int, **changes: Any) -> Iterator[Job]:
    """Run a job; enter the block after `steps` steps; cancel the job if it has not ended then."""
    job = client.submit(spec(**changes))
    try:
        yield until(client, job.id, lambda job: job.step >= steps)
    finally:
        if client.job(job.id).status not in {"succeeded", "failed", "cancelled"}:
            client.cancel(job.id)


def until(client: Client, job_id: str, condition: Any) -> Job:
    """Wait until the condition holds for the job; return the job."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition(job := client.job(job_id)):
        assert job.status not in {"failed", "cancelled", "succeeded"}, job
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
    return job


def wait_for_more_steps(client: Client, job_id: str) -> None:
    """Wait until the job runs and has done thirty more steps."""
    enough = client.job(job_id).step + 30
    until(client, job_id, lambda job: job.status == "running" and job.step >= enough)


def pause(client: Client, job_id: str) -> Job:
    """Pause the job and wait until it is paused; return the job."""
    client.pause(job_id)
    return until(client, job_id, lambda job: job.status == "paused")


def kill_engine(data_folder: Path, job_id: str) -> None:
    """Kill the engine of a job; the service keeps its data below `data_folder`."""
    (lock,) = data_folder.glob(f"*/jobs/{job_id}/engine.lock")
    os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)


def undisturbed(client: Client, steps: int) -> str:
    """Digest of the last parameters of an undisturbed job of `steps` steps.

    The best parameters of a paused job can differ: it is not evaluated within an epoch.
    """
    return trained_bits(client, workers=0, threads=1, epochs=None, steps=steps)[1]


def events_of(client: Client, job_id: str, kind: str) -> list[Event]:
    """The job's events of one type."""
    return [event for event in client.events(job_id, progress=True) if event.type == kind]
