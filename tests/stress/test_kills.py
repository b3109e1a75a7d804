"""SIGKILL of the service and engines at random moments: every row and event is stored once."""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from batchgrad.client import Client
from batchgrad.contract import Event, Job
from tests.stress.services import PATIENCE_SECONDS, client_of, service, until

KILLS = 20
SEED = int(os.environ.get("TEST_BATCHGRAD_SEED", time.time_ns() % 10**9))


def killed_service(data_dir: Path) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    """Run a service and kill it when the block ends."""
    return service(data_dir, data_dir.parent / "service.log", end=signal.SIGKILL)


def kill_engine(data_dir: Path, job_id: str) -> None:
    """Send SIGKILL to the job's engine, if it has one."""
    try:
        holder = json.loads((data_dir / "jobs" / job_id / "engine.lock").read_text())
        os.kill(holder["pid"], signal.SIGKILL)
    except (OSError, ValueError):  # no engine yet, its lock is incomplete, or it has ended
        return


def submit(client: Client, **changes: Any) -> str:
    spec = {
        "name": "killed",
        "dataset": "noise",
        "model": {"layers": [{"kind": "linear", "out_features": 3}]},
        "loss": "softmax_cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": 0.01},
        "batch_size": 50,
        "epochs": 10**6,
        "validation_fraction": 0.1,
        "workers": 0,
        "threads": 1,
        "max_restarts": 100,
        **changes,
    }
    return client.submit(spec).id


def _caught_up(client: Client, job_id: str) -> bool:
    job, last = client.job(job_id), client.last_step(job_id)
    return job.status == "running" and last is not None and 0 < last.step <= job.step


def check(client: Client, job_id: str, steps_per_epoch: int) -> None:
    job = client.job(job_id)
    about = f"seed {SEED}, job {job_id} after step {job.step}"
    assert job.step > 0, about
    assert [row.step for row in client.steps(job_id)] == list(range(1, job.step + 1)), about
    events: list[Event] = list(client.events(job_id, progress=True))
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), about
    evaluated = [event.data["step"] for event in events if event.type == "evaluation"]
    assert evaluated == list(range(steps_per_epoch, job.step + 1, steps_per_epoch)), about
    check_best(client, job, [event.data for event in events if event.type == "evaluation"])
    for kind in ("checkpoint", "progress"):
        steps = [event.data["step"] for event in events if event.type == kind]
        assert max(Counter(steps).values()) == 1, about
    saved = {event.data["step"] for event in events if event.type == "checkpoint"}
    assert {kept.step for kept in client.checkpoints(job_id)} <= saved, about
    assert job.step in saved, about


def check_best(client: Client, job: Job, evaluations: list[dict[str, Any]]) -> None:
    """Assert that the best parameters are those of an undisturbed job that ends at their step."""
    lowest, improved = float("inf"), []
    for each in evaluations:
        if each["validation_loss"] < lowest:
            lowest = each["validation_loss"]
            improved.append(each["step"])
    assert [each["step"] for each in evaluations if each["best"]] == improved, f"seed {SEED}"
    assert job.best is not None
    assert job.best.step == improved[-1], f"seed {SEED}"
    spec = job.spec.model_copy(update={"epochs": None, "steps": job.best.step, "keep": "last"})
    undisturbed = client.wait(client.submit(spec).id, timeout=PATIENCE_SECONDS)
    assert job.parameters_digest == undisturbed.parameters_digest, f"seed {SEED}"


def test_every_row_and_event_is_stored_once(tmp_path: Path) -> None:
    print(f"seed {SEED}")  # noqa: T201 - shown where the test fails
    draw, data_dir = random.Random(SEED), tmp_path / "data"
    numbers = np.random.default_rng(SEED)
    inputs = numbers.normal(size=(500, 40)).astype(np.float32)
    with killed_service(data_dir) as process, client_of(process) as client:
        client.put_arrays("noise", inputs, numbers.integers(0, 3, 500))
        hidden = [{"kind": "linear", "out_features": 400}, {"kind": "relu"}]
        wide = {"layers": [*hidden, {"kind": "linear", "out_features": 3}]}
        jobs = [
            submit(client, checkpoint_interval_seconds=seconds, model=wide)
            for seconds in (0.3, 3.0, 3600.0)
        ]
        until(lambda: all(client.job(job_id).step > 0 for job_id in jobs))
    for _ in range(KILLS - 1):
        with killed_service(data_dir) as process:
            if draw.random() < 0.2:
                time.sleep(draw.uniform(0.0, 3.0))  # also while it starts
                continue
            with client_of(process):
                time.sleep(draw.uniform(0.0, 1.5))
                if draw.random() < 0.3:
                    kill_engine(data_dir, draw.choice(jobs))
                    time.sleep(draw.uniform(0.0, 0.5))
    with killed_service(data_dir) as process, client_of(process) as client:
        for job_id in jobs:
            # After a kill, steps beyond the last checkpoint are computed again.
            until(lambda job_id=job_id: _caught_up(client, job_id))
            client.pause(job_id)
        for job_id in jobs:
            until(lambda job_id=job_id: client.job(job_id).status == "paused")
            check(client, job_id, steps_per_epoch=9)
            client.cancel(job_id)
