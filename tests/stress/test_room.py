"""Disk space of tiny jobs at full speed, and after they are deleted."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from batchgrad.client import Client
from batchgrad.user_machine.demo import digits
from tests.stress.services import serving, until

JOBS = 4
STEPS = 20_000
BYTES_A_STEP = 210
"""Half a million steps (four jobs for two minutes) must take less than 120 MB, also with the
write-ahead log and the checkpoints, which do not grow with the steps."""
STAYS_BYTES = 2_000_000
log = logging.getLogger(__name__)


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


def used_bytes(data_dir: Path, *leave_out: str) -> int:
    """Bytes of all files below `data_dir`, some of which may vanish meanwhile."""
    sizes = []
    for path in data_dir.rglob("*"):
        if any(path.match(pattern) for pattern in leave_out):
            continue
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return sum(sizes)


def growing_bytes(data_dir: Path) -> int:
    """Bytes of the database's pages, wherever they are now, and of files but checkpoints."""
    with closing(sqlite3.connect(data_dir / "batchgrad.sqlite3")) as database:
        [pages], [page] = (
            database.execute(f"PRAGMA {each}").fetchone() for each in ("page_count", "page_size")
        )
    return int(pages * page) + used_bytes(data_dir, "batchgrad.sqlite3*", "step-*")


def test_steps_take_little_disk_space_and_deleted_jobs_none(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(data_dir, tmp_path / "log") as client:
        client.put_arrays("digits", *digits())
        empty = used_bytes(data_dir)
        jobs = [submit(client) for _ in range(JOBS)]
        until(lambda: all(client.job(job_id).step > 2000 for job_id in jobs))

        def steps() -> int:
            return sum(client.job(job_id).step for job_id in jobs)

        before, done = growing_bytes(data_dir), steps()
        until(lambda: steps() > done + STEPS)
        grown, more = growing_bytes(data_dir) - before, steps() - done
        log.info("%d bytes a step", grown / more)
        assert grown / more < BYTES_A_STEP, (grown, more)
        for job_id in jobs:
            client.cancel(job_id)
        until(lambda: all(client.job(job_id).status == "cancelled" for job_id in jobs))
        for job_id in jobs:
            client.delete(job_id)
        until(lambda: used_bytes(data_dir) < empty + STAYS_BYTES)
