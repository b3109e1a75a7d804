"""What tiny jobs at full speed write to the disk, and what stays of it when they are deleted."""

import time
from pathlib import Path

from batchgrad.client import Client
from batchgrad.local.demo import digits
from tests.stress.services import serving, until

JOBS = 4
SECONDS = 12.0
BYTES_A_STEP = 210
"""Two minutes of four jobs are half a million steps, and shall take less than 120 MB; here the
write-ahead log and first checkpoints, which don't grow, are left out."""
STAYS_BYTES = 2_000_000


def submit(client: Client) -> str:
    hidden = [{"kind": "linear", "out_features": 32}, {"kind": "relu"}]
    spec = {
        "name": "tiny",
        "dataset": "digits",
        "model": {"layers": [*hidden, {"kind": "linear", "out_features": 10}]},
        "loss": "softmax_cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": 0.05},
        "batch_size": 64,
        "epochs": 10**6,
        "validation_fraction": 0.1,
        "workers": 0,
        "threads": 1,
    }
    return client.submit(spec).id


def room(data_dir: Path) -> int:
    """Bytes of all files; they come and go meanwhile."""
    sizes = []
    for path in data_dir.rglob("*"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return sum(sizes)


def test_steps_take_little_room_and_a_deleted_job_none(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(data_dir, tmp_path / "log") as client:
        client.put_arrays("digits", *digits())
        empty = room(data_dir)
        jobs = [submit(client) for _ in range(JOBS)]
        until(lambda: all(client.job(job_id).step > 2000 for job_id in jobs))
        before, done = room(data_dir), sum(client.job(job_id).step for job_id in jobs)
        time.sleep(SECONDS)  # the time that is measured, no wait for something
        grown, steps = room(data_dir) - before, sum(client.job(job_id).step for job_id in jobs)
        assert steps > done
        assert grown / (steps - done) < BYTES_A_STEP, (grown, steps - done)
        for job_id in jobs:
            client.cancel(job_id)
        until(lambda: all(client.job(job_id).status == "cancelled" for job_id in jobs))
        for job_id in jobs:
            client.delete(job_id)
        until(lambda: room(data_dir) < empty + STAYS_BYTES)
