"""A GPT's bits on real Ray workers, after deaths, pauses and in a replay; with dropout too."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.client import Client
from batchgrad.contract import Job
from batchgrad.user_machine.private_service import private_service
from tests.end_to_end.digits_job import (
    PATIENCE_SECONDS,
    Bits,
    bits,
    events_of,
    kill_engine,
    pause,
    until,
    wait_for_more_steps,
)

COMMAND = (
    "env",
    "BATCHGRAD_WORKER_HEARTBEAT_TIMEOUT_SECONDS=10",
    sys.executable,
    "-m",
    "batchgrad",
    "serve",
)
DROPOUT = 0.2


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def client(data_folder: Path) -> Iterator[Client]:
    with private_service(COMMAND, folder=data_folder) as client:
        steps = np.random.default_rng(5).integers(1, 3, (200, 12))
        client.put_dataset("text", {"input_ids": steps.cumsum(axis=1) % 30})
        yield client


def spec(dropout: float, **changes: Any) -> dict[str, Any]:
    """Three epochs of seven minibatches, no multiple of the microbatches."""
    return {
        "name": "gpt",
        "dataset": "text",
        "model": {"torch": "tests.torch.small_modules:gpt", "config": {"dropout": dropout}},
        "optimizer": {"kind": "adamw", "learning_rate": 0.01, "clip_norm": 1.0},
        "batch_size": 26,
        "microbatch_size": 4,
        "validation_fraction": 0.1,
        "epochs": 3,
        "workers": 0,
        "threads": 1,
    } | changes


def trained(client: Client, dropout: float, **changes: Any) -> Bits:
    job = client.wait(client.submit(spec(dropout, **changes)).id, timeout=PATIENCE_SECONDS)
    assert job.status == "succeeded", job
    return bits(job)


@pytest.fixture(scope="module")
def inline(client: Client) -> dict[float, Bits]:
    return {dropout: trained(client, dropout) for dropout in (0.0, DROPOUT)}


@contextmanager
def under_way(client: Client, steps: int, dropout: float, **changes: Any) -> Iterator[Job]:
    """Run a job without an end; enter the block after `steps` steps; cancel it at the end."""
    job = client.submit(spec(dropout, epochs=100_000, **changes))
    try:
        yield until(client, job.id, lambda job: job.step >= steps)
    finally:
        client.cancel(job.id)


def undisturbed(client: Client, dropout: float, steps: int) -> str:
    return trained(client, dropout, epochs=None, steps=steps)[1]


@pytest.mark.parametrize(
    ("dropout", "changes"),
    [
        (DROPOUT, {"threads": 2}),
        (DROPOUT, {"workers": 1}),
        (DROPOUT, {"workers": 2}),
        (DROPOUT, {"workers": 3}),
        (0.0, {"workers": 2, "threads": 2}),
    ],
    ids=str,
)
def test_any_number_of_workers_and_threads_gives_the_same_bits(
    client: Client, inline: dict[float, Bits], dropout: float, changes: dict[str, Any]
) -> None:
    assert trained(client, dropout, **changes) == inline[dropout]


def test_a_killed_worker_changes_no_bit(client: Client) -> None:
    with under_way(client, 5, DROPOUT, workers=2) as job:
        victim = events_of(client, job.id, "worker_joined")[0].data["pid"]
        os.kill(victim, signal.SIGSTOP)
        wait = client.job(job.id).step
        os.kill(victim, signal.SIGKILL)
        until(client, job.id, lambda job: job.step > wait + 10)
        done = pause(client, job.id)
    assert done.attempts == 1
    assert [event.data["pid"] for event in events_of(client, job.id, "worker_lost")] == [victim]
    assert done.last_parameters_digest == undisturbed(client, DROPOUT, done.step)


def test_a_killed_engine_changes_no_bit(client: Client, data_folder: Path) -> None:
    with under_way(client, 5, DROPOUT, checkpoint_interval_seconds=0.05) as job:
        kill_engine(data_folder, job.id)
        until(client, job.id, lambda job: job.attempts == 2)
        wait_for_more_steps(client, job.id)
        done = pause(client, job.id)
    assert done.last_parameters_digest == undisturbed(client, DROPOUT, done.step)


def test_pausing_resuming_and_replaying_change_no_bit(client: Client) -> None:
    with under_way(client, 5, DROPOUT, workers=2) as job:
        paused = pause(client, job.id)
        client.resume(job.id)
        until(client, job.id, lambda job: job.step > paused.step + 10)
        done = pause(client, job.id)
        assert done.last_parameters_digest == undisturbed(client, DROPOUT, done.step)
        found = client.step_examples(job.id, paused.step + 2)
    assert found.verified
    shares = [each.share for each in found.data]
    assert shares[0] is not None
