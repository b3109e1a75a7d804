"""Disk space of tiny jobs at full speed, and after they are deleted."""

import time
from pathlib import Path

from batchgrad.client import Client
from batchgrad.user_machine.demo import digits
from tests.stress.services import serving, until

JOBS = 4
SECONDS = 12.0
BYTES_A_STEP = 210
"""Half a million steps (four jobs for two minutes) must take less than 120 MB; here the
write-ahead log and the first checkpoints, which do not grow, are not counted."""
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


def used_bytes(data_dir: Path) -> int:
    """Bytes of all files below `data_dir`, some of which may vanish meanwhile."""
    sizes = []
    for path in data_dir.rglob("*"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return sum(sizes)


def test_steps_take_little_disk_space_and_deleted_jobs_none(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(data_dir, tmp_path / "log") as client:
        client.put_arrays("digits", *digits())
        empty = used_bytes(data_dir)
        jobs = [submit(client) for _ in range(JOBS)]
        until(lambda: all(client.job(job_id).step > 2000 for job_id in jobs))
        before, done = used_bytes(data_dir), sum(client.job(job_id).step for job_id in jobs)
        time.sleep(SECONDS)  # the measured interval
        grown, steps = (
            used_bytes(data_dir) - before,
            sum(client.job(job_id).step for job_id in jobs),
        )
        assert steps > done
        assert grown / (steps - done) < BYTES_A_STEP, (grown, steps - done)
        for job_id in jobs:
            client.cancel(job_id)
        until(lambda: all(client.job(job_id).status == "cancelled" for job_id in jobs))
        for job_id in jobs:
            client.delete(job_id)
        until(lambda: used_bytes(data_dir) < empty + STAYS_BYTES)
