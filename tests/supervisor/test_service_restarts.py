"""Services that stop or are killed: the next one continues their jobs, and leaves no process."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from batchgrad.contract import JobStatus
from tests.supervisor.conftest import PATIENCE_SECONDS, FakeCluster

if TYPE_CHECKING:
    from batchgrad_service.ray_head.cluster import ClusterAddress
    from tests.supervisor.conftest import Bench


SERVICE = """
import sys, time
from pathlib import Path
from prometheus_client import CollectorRegistry
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.settings import Settings
from batchgrad_service.store import Store
from batchgrad_service.jobs.supervisor import Supervisor
data_dir = Path(sys.argv[1])
store = Store(f"sqlite:///{data_dir}/batchgrad.sqlite3")
metrics = Metrics(CollectorRegistry(), version="test", count_jobs=store.count_by_status)
Supervisor(Settings(data_dir=data_dir), store, metrics, engine_command=sys.argv[2:]).start()
time.sleep(600)
"""


def test_a_stale_attempt_changes_nothing_and_is_ended(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(steps=10**6, checkpoint_every=0)
    bench.until_status(job_id, "running")
    assert bench.store.transition(job_id, to="recovering")
    assert bench.store.begin_attempt(job_id) == 2  # as another service would
    bench.until(lambda: not bench.supervisors[0]._attempts)
    job = bench.store.job(job_id)
    assert (job.status, job.attempts) == ("starting", 2)
    time.sleep(0.05)
    assert bench.store.job(job_id).step == job.step


def test_the_next_service_continues_a_stopped_one(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(hold_at=3)
    bench.until_step(job_id, 3)
    supervisor.stop(grace=10.0)
    job = bench.store.job(job_id)
    assert (job.status, job.reason) == ("recovering", "service_stopped")
    assert not supervisor.ready()
    assert bench.cluster.stopped
    bench.supervisor()
    bench.until_status(job_id, "succeeded")
    assert "recovering" in bench.path(job_id)


def test_a_stopping_service_kills_engines_that_do_not_end(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(hang_at=1, child=1)
    bench.until_step(job_id, 1)
    child = int((bench.folder(job_id) / "child").read_text())
    began = time.monotonic()
    supervisor.stop(grace=0.2)
    assert time.monotonic() - began < 15.0  # the supervisor's own grace time is 20 s
    assert bench.status(job_id) == "recovering"
    bench.until_gone(child)


@pytest.mark.parametrize(
    ("statuses", "final"),
    [
        (["starting"], "succeeded"),
        (["starting", "running"], "succeeded"),
        (["starting", "running", "recovering"], "succeeded"),
        (["starting", "running", "pausing"], "paused"),
        (["starting", "running", "cancelling"], "cancelled"),
        (["paused"], "paused"),
    ],
)
def test_a_start_continues_or_ends_the_jobs_that_it_finds(
    bench: Bench, statuses: list[JobStatus], final: JobStatus
) -> None:
    job_id = bench.submit()
    for status in statuses:
        assert bench.store.transition(job_id, to=status, allowed={bench.status(job_id)})
    supervisor = bench.supervisor()
    bench.until_status(job_id, final)
    bench.until(supervisor.ready)
    assert bench.cluster.leftovers_removed == 1


@pytest.mark.parametrize(("behaviour", "grace"), [("hold_at", 30.0), ("hang_at", 1.0)])
def test_the_next_service_continues_a_killed_one(
    bench: Bench, behaviour: str, grace: float
) -> None:
    job_id = bench.submit(**{behaviour: 2})
    command = [sys.executable, "-c", SERVICE, str(bench.data_dir), *bench.engine_command]
    with subprocess.Popen(command) as service:
        try:
            bench.until_step(job_id, 2)
        finally:
            service.kill()
    engine = bench.engine(job_id)
    assert bench.status(job_id) == "running"
    began = time.monotonic()
    bench.supervisor(grace=grace)  # an engine that hears its stdin end leaves at once
    bench.until_status(job_id, "succeeded")
    bench.until_gone(engine)
    assert bench.store.job(job_id).attempts == 2
    assert (time.monotonic() - began > grace) == (behaviour == "hang_at"), "force only when needed"


@pytest.mark.parametrize("stopped", [False, True])
def test_a_locked_database_costs_no_engine_and_no_row(
    bench: Bench, caplog: pytest.LogCaptureFixture, stopped: bool
) -> None:
    bench.store.close()  # connections that are open wait longer
    event.listen(bench.store._engine, "connect", _impatient)
    bench.cluster = gate = Gate()
    supervisor = bench.supervisor()
    job_id = bench.submit(wants_cluster=1, steps=40, checkpoint_every=0)
    bench.until(lambda: gate.requested == [1])
    with closing(sqlite3.connect(bench.data_dir / "batchgrad.sqlite3")) as other:
        other.execute("BEGIN IMMEDIATE")
        gate.opened.set()
        bench.until(lambda: "holds the database's lock" in caplog.text)
        if stopped:
            supervisor.stop(grace=3.0)
    if stopped:
        bench.supervisor()
    bench.until_status(job_id, "succeeded")
    assert bench.store.job(job_id).attempts == (2 if stopped else 1)
    if not stopped:
        rows = bench.store.steps(job_id, after=None, limit=1000).data
        assert [row.step for row in rows] == list(range(1, 41))


class Gate(FakeCluster):
    """Blocks an engine until the test opens the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    def address(self, workers: int) -> ClusterAddress:
        statuses = super().address(workers)
        assert self.opened.wait(PATIENCE_SECONDS)
        return statuses


def _impatient(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout = 50")
