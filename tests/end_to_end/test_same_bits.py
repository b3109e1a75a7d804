"""Workers, threads, crashes, pauses and restarts do not change a job's bits."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchgrad.client import Client
from tests.end_to_end.digits_job import (
    ENDLESS,
    PATIENCE_SECONDS,
    Bits,
    bits,
    events_of,
    kill_engine,
    pause,
    trained_bits,
    under_way,
    until,
    wait_for_more_steps,
)

pytestmark = pytest.mark.ray

Alone = Callable[..., Bits]


@pytest.fixture(scope="module")
def short_bits(alone: Alone) -> Bits:
    return alone()


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 1},
        {"workers": 3},
        {"workers": 0, "threads": 2},
        {"workers": "auto"},
        {"workers": 2, "threads": 2},
        {"workers": {"min": 1, "max": 2}},
    ],
    ids=str,
)
def test_any_number_of_workers_and_threads_gives_the_same_bits(
    client: Client, short_bits: Bits, changes: dict[str, Any]
) -> None:
    assert trained_bits(client, **changes) == short_bits


def worker_pids(client: Client, job_id: str) -> list[int]:
    """Pids of the workers, in the sequence in which they joined."""
    return [event.data["pid"] for event in events_of(client, job_id, "worker_joined")]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(signal.SIGKILL, "died"), (signal.SIGSTOP, "silent")],
    ids=["killed", "stopped"],
)
def test_a_killed_or_stopped_worker_changes_no_bit(
    client: Client, alone: Alone, sent: signal.Signals, reason: str
) -> None:
    """Two actors run. The one to be killed is stopped first, so that it has a range to compute.

    A worker that dies between two steps would leave nothing to retry.
    """
    with under_way(client, 30, workers=2, **ENDLESS) as job:
        assert (job.executor, job.workers) == ("ray", 2)
        victim, other = worker_pids(client, job.id)
        assert victim != other
        for pid in (victim, other):
            assert "GradientWorker" in Path(f"/proc/{pid}/cmdline").read_text()
        os.kill(victim, signal.SIGSTOP)
        time.sleep(0.05)
        os.kill(victim, sent)
        until(client, job.id, lambda job: len(worker_pids(client, job.id)) == 3)
        done = pause(client, job.id)
    assert done.attempts == 1
    (lost,) = events_of(client, job.id, "worker_lost")
    assert (lost.data["pid"], lost.data["reason"]) == (victim, reason)
    assert events_of(client, job.id, "retry")
    assert len(worker_pids(client, job.id)) == 3
    assert not Path(f"/proc/{victim}").exists()
    assert done.last_parameters_digest == alone(epochs=None, steps=done.step)[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_engine_changes_no_bit(
    client: Client, data_folder: Path, alone: Alone, workers: int
) -> None:
    with under_way(client, 10, workers=workers, checkpoint_interval_seconds=0.05, **ENDLESS) as job:
        kill_engine(data_folder, job.id)
        until(client, job.id, lambda job: job.attempts == 2)
        wait_for_more_steps(client, job.id)
        done = pause(client, job.id)
    assert done.attempts == 2
    assert done.last_parameters_digest == alone(epochs=None, steps=done.step)[1]
    states = [event.data["status"] for event in events_of(client, job.id, "state")]
    assert "recovering" in states
    rows = [row.step for row in client.steps(job.id)]
    assert rows == list(range(1, done.step + 1))


def test_pausing_and_resuming_changes_no_bit(client: Client, alone: Alone) -> None:
    with under_way(client, 30, workers=2, epochs=200) as job:
        paused = pause(client, job.id)
        assert paused.step < paused.steps_planned
        client.resume(job.id)
        done = client.wait(job.id, timeout=PATIENCE_SECONDS)
    assert done.step == done.steps_planned
    assert bits(done) == alone(epochs=200)
