"""Workers, threads, deaths, pauses and restarts decide how fast a job is, never what it learns."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from batchgrad.client import Client
from tests.end_to_end.digits_job import digest, happened, under_way, until

pytestmark = pytest.mark.ray

LONG = {"epochs": 600}
"""Some 900 steps: still going when a test interferes, and when a lost worker is replaced."""


@pytest.fixture(scope="module")
def short_digest(client: Client) -> str:
    return digest(client, workers=0, threads=1)


@pytest.fixture(scope="module")
def long_digest(client: Client) -> str:
    return digest(client, workers=0, threads=1, **LONG)


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 1},
        {"workers": 2},
        {"workers": 3},
        {"workers": 0, "threads": 2},
        {"workers": "auto"},
        {"workers": 2, "threads": 2},
        {"workers": {"min": 1, "max": 2}},
    ],
    ids=str,
)
def test_any_number_of_workers_and_threads(
    client: Client, short_digest: str, changes: dict[str, Any]
) -> None:
    assert digest(client, **changes) == short_digest


def test_that_many_real_actors_run(client: Client) -> None:
    with under_way(client, 1, workers=3, **LONG) as job:
        assert (job.executor, job.workers) == ("ray", 3)
        pids = {event.data["pid"] for event in happened(client, job.id, "worker_joined")}
        assert len(pids) == 3
        for pid in pids:
            assert "GradientWorker" in Path(f"/proc/{pid}/cmdline").read_text()


def test_worker_that_is_killed(client: Client, long_digest: str) -> None:
    with under_way(client, 30, workers=2, **LONG) as job:
        victim = happened(client, job.id, "worker_joined")[0].data["pid"]
        os.kill(victim, signal.SIGKILL)
        done = client.wait(job.id, timeout=60)
    assert done.parameters_digest == long_digest
    assert done.attempts == 1
    (lost,) = happened(client, job.id, "worker_lost")
    assert (lost.data["pid"], lost.data["reason"]) == (victim, "died")
    assert happened(client, job.id, "retry")
    assert len(happened(client, job.id, "worker_joined")) == 3
    assert not Path(f"/proc/{victim}").exists()


def test_worker_that_is_stopped(client: Client, long_digest: str) -> None:
    """The other one does its work too, until it is struck off, or the job is done."""
    with under_way(client, 30, workers=2, **LONG) as job:
        victim = happened(client, job.id, "worker_joined")[0].data["pid"]
        os.kill(victim, signal.SIGSTOP)
        done = client.wait(job.id, timeout=60)
    assert done.parameters_digest == long_digest
    assert done.attempts == 1
    retried = {event.data["reason"] for event in happened(client, job.id, "retry")}
    assert retried & {"slow", "silent"}
    assert not Path(f"/proc/{victim}").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_engine_that_is_killed(
    client: Client, long_digest: str, jobs_folder: Path, workers: int
) -> None:
    changes = {**LONG, "workers": workers, "checkpoint_seconds": 0.05}
    with under_way(client, 10, **changes) as job:
        engine = json.loads((jobs_folder / job.id / "engine.lock").read_text())["pid"]
        os.kill(engine, signal.SIGKILL)
        done = client.wait(job.id, timeout=60)
    assert done.parameters_digest == long_digest
    assert done.attempts == 2
    states = [event.data["status"] for event in happened(client, job.id, "state")]
    assert "recovering" in states
    rows = [row.step for row in client.steps(job.id)]
    assert rows == list(range(1, 6 * LONG["epochs"] + 1))


def test_pause_and_resume(client: Client, long_digest: str) -> None:
    with under_way(client, 30, workers=2, **LONG) as job:
        client.pause(job.id)
        paused = until(client, job.id, lambda job: job.status == "paused")
        assert paused.step < 900
        client.resume(job.id)
        done = client.wait(job.id, timeout=60)
    assert done.parameters_digest == long_digest
