"""Engines that die, services that stop or are killed: jobs go on, and nothing is left."""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from batchgrad.contract import JobStatus
from batchgrad_engine.messages import CLUSTER_LOST
from batchgrad_service.jobs.engine_process import EngineProcess
from batchgrad_service.jobs.restarts import ReconnectBackoff, RestartBudget
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


def test_a_dead_engine_is_replaced_and_goes_on_from_the_checkpoint(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(crash_at=3, crash_attempts=1)
    bench.until_status(job_id, "succeeded")
    assert bench.path(job_id) == [
        *("queued", "starting", "running"),
        *("recovering", "starting", "running", "succeeded"),
    ]
    recovering = bench.states(job_id)[3].data
    assert recovering["reason"] == "engine_died"
    assert recovering["detail"] == "The engine was ended by SIGKILL."
    assert recovering["log"] == ["about to crash"]
    assert recovering["restart"] == 1
    steps = [row.step for row in bench.store.steps(job_id, after=None, limit=10).data]
    assert steps == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("no Ray", CLUSTER_LOST),
        ("Failed to connect to GCS within 5 seconds.", 1),
        ("ray/_raylet.so(+0x114) [0x7f48] EventTracker::RecordExecution()", 1),
    ],
)
def test_a_lost_cluster_is_told_as_such(bench: Bench, said: str, code: int) -> None:
    bench.engine_command = (
        *(sys.executable, "-c"),
        f"import sys; input(); sys.stderr.write('{said}'); sys.exit({code})",
    )
    bench.supervisor()
    job_id = bench.submit(max_restarts=1)
    bench.until_status(job_id, "failed")
    assert bench.path(job_id) == [
        *("queued", "starting", "recovering", "starting", "failed"),
    ]
    for state in (bench.states(job_id)[2], bench.states(job_id)[4]):
        assert state.data["reason"] == "cluster_lost"
        assert state.data["detail"].startswith("The Ray cluster has ended, or")
        assert state.data["log"] == [said]


def test_a_cluster_of_ones_own_that_is_away_is_waited_for_and_costs_no_restart(
    bench: Bench,
) -> None:
    word = {"type": "finished", "outcome": "interrupted", "detail": "nobody answers.", "step": 0}
    program = f"import sys; input(); print({json.dumps(word)!r}); sys.exit({CLUSTER_LOST})"
    bench.engine_command = (sys.executable, "-c", program)
    supervisor = bench.supervisor(ray_address="head:6379")
    job_id = bench.submit(workers=1, max_restarts=0)

    def tried_again() -> bool:
        supervisor.notify()  # as whatever else happens in a service
        return bench.store.job(job_id).attempts > 1

    bench.until(tried_again)
    bench.until(lambda: bench.path(job_id).count("recovering") > 1)
    lost, lost_again = [s for s in bench.states(job_id) if s.data["status"] == "recovering"][:2]
    assert (lost.data["reason"], lost_again.data["reason"]) == ("cluster_lost", "cluster_lost")
    assert (lost.data["again_seconds"], lost_again.data["again_seconds"]) == (1, 2)
    assert lost.data["detail"] == (
        "The Ray cluster is lost: nobody answers. The job tries again in 1 s, until it is back."
    )
    first, second = [s for s in bench.states(job_id) if s.data["status"] == "starting"][:2]
    assert (second.time - first.time).total_seconds() >= 1
    supervisor.cancel(job_id)
    bench.until_status(job_id, "cancelled")


def test_waits_for_a_cluster_grow_until_the_job_gets_on() -> None:
    now = [100.0]
    backoff = ReconnectBackoff(lambda: now[0])
    assert backoff.may_try("a")
    assert [backoff.begin_wait("a", -1) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 64, 120, 120]
    now[0] += 119
    assert not backoff.may_try("a")
    assert backoff.may_try("b")
    now[0] += 2
    assert backoff.may_try("a")
    assert [backoff.begin_wait("a", step) for step in (5, 5, 6)] == [1, 2, 1]
    assert [backoff.begin_wait("a", 6, least_seconds=s) for s in (15, 1, 15)] == [15, 30, 60]
    backoff.reset("a")
    assert backoff.may_try("a")


def test_what_a_dead_engine_leaves_in_its_group_is_ended(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(child=1, crash_at=3, max_restarts=0)
    bench.until_status(job_id, "failed")  # a child that held stdout open would hold this up
    bench.until_gone(int((bench.folder(job_id) / "child").read_text()))


def test_resuming_by_hand_gives_the_restarts_back(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(hold_at=2, checkpoint_every=0, max_restarts=1)

    def kill(attempt: int) -> None:
        bench.until(lambda: bench.store.job(job_id).attempts == attempt)
        bench.until_step(job_id, 2)
        os.kill(bench.engine(job_id), signal.SIGKILL)

    kill(1)
    bench.until(lambda: bench.store.job(job_id).attempts == 2)
    bench.until_step(job_id, 2)
    supervisor.pause(job_id)
    bench.until_status(job_id, "paused")
    supervisor.resume(job_id)
    kill(3)
    kill(4)
    bench.until_status(job_id, "failed")


def fast_backoff() -> ReconnectBackoff:
    """Waits on a clock that runs a thousand times as fast."""
    return ReconnectBackoff(lambda: 1000 * time.monotonic())


def until_tried(bench: Bench, job_id: str, *statuses: JobStatus) -> None:
    """Wait for a status, as whatever else happens in a service wakes its supervisor."""

    def reached() -> bool:
        bench.supervisors[-1].notify()
        return bench.status(job_id) in statuses

    bench.until(reached)


def test_without_progress_the_job_fails_after_max_restarts_later_and_later(bench: Bench) -> None:
    bench.supervisor(backoff=fast_backoff())
    job_id = bench.submit(crash_at=3, max_restarts=3)
    until_tried(bench, job_id, "failed")
    job = bench.store.job(job_id)
    assert (job.attempts, job.reason) == (4, "engine_died")
    tried = [s.data for s in bench.states(job_id) if s.data["status"] == "recovering"]
    assert [data.get("again_seconds") for data in tried] == [None, 15, 30]
    assert tried[1]["detail"].endswith("SIGKILL. The job tries again in 15 s.")
    last = bench.states(job_id)[-1].data
    assert last["log"] == ["about to crash"]
    bench.until(lambda: bench.ended("failed", "engine_died") == 1)


@pytest.mark.parametrize(
    ("error", "lacking"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "open files (ulimit -n)"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "processes or threads"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (RuntimeError("can't start new thread"), "processes or threads"),
        (MemoryError(), "memory"),
    ],
)
def test_what_the_machine_lacks_for_a_while_costs_no_restart(
    bench: Bench, error: Exception, lacking: str
) -> None:
    failures = iter([error] * 4)

    def start_engine(*order: Any, **how: Any) -> EngineProcess:
        for failure in failures:
            raise failure
        return EngineProcess(*order, **how)

    bench.supervisor(backoff=fast_backoff(), start_engine=start_engine)
    job_id = bench.submit(max_restarts=0)
    until_tried(bench, job_id, "succeeded", "failed")
    assert bench.status(job_id) == "succeeded"
    waited = [s.data for s in bench.states(job_id) if s.data["status"] == "recovering"]
    assert [data["again_seconds"] for data in waited] == [1, 2, 4, 8]
    assert {data["reason"] for data in waited} == {"machine_exhausted"}
    assert f"The machine has no {lacking}" in waited[0]["detail"]


def test_other_failures_to_start_are_no_lack(bench: Bench) -> None:
    bench.engine_command = ("/nowhere/python",)
    bench.supervisor()
    job_id = bench.submit(max_restarts=0)
    bench.until_status(job_id, "failed")
    assert bench.store.job(job_id).reason == "internal_error"


def test_no_restart_when_none_is_wanted(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(crash_at=1, max_restarts=0)
    bench.until_status(job_id, "failed")
    assert bench.store.job(job_id).attempts == 1


def test_progress_gives_the_restarts_back() -> None:
    budget = RestartBudget()
    assert [budget.spend("a", -1, 2).allowed for _ in range(3)] == [True, True, False]
    assert budget.spend("a", 5, 2).count == 1
    assert budget.spend("a", 5, 2).count == 2
    assert not budget.spend("a", 5, 2).allowed
    assert budget.spend("b", 5, 2).count == 1
    budget.reset("a")
    assert budget.spend("a", 5, 2).count == 1


def test_a_failure_keeps_its_reason_and_is_not_tried_again(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(fail_at=2)
    bench.until_status(job_id, "failed")
    job = bench.store.job(job_id)
    assert (job.attempts, job.reason) == (1, "nonfinite")
    assert bench.states(job_id)[-1].data["detail"] == "The loss is inf."
    bench.until(lambda: bench.ended("failed", "nonfinite") == 1)


def test_what_is_no_message_ends_the_engine_and_is_shown(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(garbage_at=2, max_restarts=0)
    bench.until_status(job_id, "failed")
    detail = bench.states(job_id)[-1].data["detail"]
    assert "printed b'hello\\n', which is not an engine message" in detail


def test_a_cluster_that_does_not_start_fails_the_job_with_the_reason(bench: Bench) -> None:
    bench.cluster.broken = True
    bench.supervisor()
    job_id = bench.submit(workers=2, max_restarts=1)
    bench.until_status(job_id, "failed")
    assert bench.store.job(job_id).reason == "cluster_unavailable"
    assert bench.states(job_id)[-1].data["detail"] == "no room for Ray"
    assert bench.cluster.asked == [2, 2]


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


def test_a_stopped_service_goes_on_where_it_was(bench: Bench) -> None:
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


def test_a_stopping_service_kills_what_does_not_leave(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(hang_at=1, child=1)
    bench.until_step(job_id, 1)
    child = int((bench.folder(job_id) / "child").read_text())
    began = time.monotonic()
    supervisor.stop(grace=0.2)
    assert time.monotonic() - began < 5.0
    assert bench.status(job_id) == "recovering"
    bench.until_gone(child)


@pytest.mark.parametrize(
    ("found", "becomes"),
    [
        (["starting"], "succeeded"),
        (["starting", "running"], "succeeded"),
        (["starting", "running", "recovering"], "succeeded"),
        (["starting", "running", "pausing"], "paused"),
        (["starting", "running", "cancelling"], "cancelled"),
        (["paused"], "paused"),
    ],
)
def test_boot_settles_what_it_finds(
    bench: Bench, found: list[JobStatus], becomes: JobStatus
) -> None:
    job_id = bench.submit()
    for status in found:
        assert bench.store.transition(job_id, to=status, allowed={bench.status(job_id)})
    supervisor = bench.supervisor()
    bench.until_status(job_id, becomes)
    bench.until(supervisor.ready)
    assert bench.cluster.leftovers_removed == 1


@pytest.mark.parametrize(("behaviour", "grace"), [("hold_at", 15.0), ("hang_at", 1.0)])
def test_after_sigkill_of_the_service_the_next_one_goes_on(
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


def test_an_engine_killed_from_outside_is_recovered(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(hold_at=2)
    bench.until_step(job_id, 2)
    os.kill(bench.engine(job_id), signal.SIGKILL)
    bench.until_status(job_id, "succeeded")
    assert bench.store.job(job_id).attempts == 2


@pytest.mark.parametrize("stopped", [False, True])
def test_a_database_that_somebody_locks_costs_no_engine_and_no_row(
    bench: Bench, caplog: pytest.LogCaptureFixture, stopped: bool
) -> None:
    bench.store.close()  # connections that are open wait longer
    event.listen(bench.store._engine, "connect", _impatient)
    bench.cluster = gate = Gate()
    supervisor = bench.supervisor()
    job_id = bench.submit(wants_cluster=1, steps=40, checkpoint_every=0)
    bench.until(lambda: gate.asked == [1])
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
    """Lets an engine wait until the test opens."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    def address(self, workers: int) -> ClusterAddress:
        found = super().address(workers)
        assert self.opened.wait(PATIENCE_SECONDS)
        return found


def _impatient(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout = 50")
