"""Engines that die, services that stop or are killed: jobs go on, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchgrad.contract import JobStatus
from batchgrad_service.recovery import DataDirectoryInUseError
from batchgrad_service.restarts import RestartBudget

if TYPE_CHECKING:
    from tests.supervisor.conftest import Bench

SERVICE = """
import sys, time
from pathlib import Path
from prometheus_client import CollectorRegistry
from batchgrad_service.metrics import Metrics
from batchgrad_service.settings import Settings
from batchgrad_service.store import Store
from batchgrad_service.supervisor import Supervisor
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


def test_without_progress_the_job_fails_after_max_restarts(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(crash_at=3, max_restarts=2)
    bench.until_status(job_id, "failed")
    job = bench.store.job(job_id)
    assert (job.attempts, job.reason) == (3, "engine_died")
    last = bench.states(job_id)[-1].data
    assert last["log"] == ["about to crash"]
    assert bench.ended("failed", "engine_died") == 1


def test_no_restart_when_none_is_wanted(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(crash_at=1, max_restarts=0)
    bench.until_status(job_id, "failed")
    assert bench.store.job(job_id).attempts == 1


def test_progress_gives_the_restarts_back() -> None:
    budget = RestartBudget()
    assert [budget.spend("a", -1, 2).allowed for _ in range(3)] == [True, True, False]
    assert budget.spend("a", 5, 2).restarts == 1
    assert budget.spend("a", 5, 2).restarts == 2
    assert not budget.spend("a", 5, 2).allowed
    assert budget.spend("b", 5, 2).restarts == 1
    budget.forget("a")
    assert budget.spend("a", 5, 2).restarts == 1


def test_a_failure_keeps_its_reason_and_is_not_tried_again(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(fail_at=2)
    bench.until_status(job_id, "failed")
    job = bench.store.job(job_id)
    assert (job.attempts, job.reason) == (1, "nonfinite")
    assert bench.states(job_id)[-1].data["detail"] == "The loss is inf."
    assert bench.ended("failed", "nonfinite") == 1


def test_what_is_no_message_ends_the_engine_and_is_shown(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(garbage_at=2, max_restarts=0)
    bench.until_status(job_id, "failed")
    detail = bench.states(job_id)[-1].data["detail"]
    assert "printed b'hello\\n', which is no engine message" in detail


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
    assert bench.store.transition(job_id, to="queued", allowed={"running"})
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
    child = Path("/proc") / (bench.folder(job_id) / "child").read_text()
    began = time.monotonic()
    supervisor.stop(grace=0.2)
    assert time.monotonic() - began < 5.0
    assert bench.status(job_id) == "recovering"
    bench.until(lambda: not child.exists() or "Z" in (child / "stat").read_text().split()[2])


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


@pytest.mark.parametrize("behaviour", ["hold_at", "hang_at"])
def test_after_sigkill_of_the_service_the_next_one_goes_on(bench: Bench, behaviour: str) -> None:
    job_id = bench.submit(**{behaviour: 2})
    command = [sys.executable, "-c", SERVICE, str(bench.data_dir), *bench.engine_command]
    with subprocess.Popen(command) as service:
        bench.until_step(job_id, 2)
        with pytest.raises(DataDirectoryInUseError, match="--data-dir"):
            bench.supervisor()
        service.kill()
    lock = bench.folder(job_id) / "engine.lock"
    engine = Path("/proc") / lock.read_text().split()[1].strip(",")
    assert bench.status(job_id) == "running"
    began = time.monotonic()
    bench.supervisor(grace=1.0)  # an engine that hears its stdin end leaves at once
    bench.until_status(job_id, "succeeded")
    assert not engine.exists() or "Z" in (engine / "stat").read_text().split()[2]
    assert bench.store.job(job_id).attempts == 2
    assert (time.monotonic() - began > 1.0) == (behaviour == "hang_at"), "force only when needed"


def test_an_engine_killed_from_outside_is_recovered(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(hold_at=2)
    bench.until_step(job_id, 2)
    engine = int((bench.folder(job_id) / "engine.lock").read_text().split()[1].strip(","))
    os.kill(engine, signal.SIGKILL)
    bench.until_status(job_id, "succeeded")
    assert bench.store.job(job_id).attempts == 2
