"""Engines that die or fail: the job is restarted from its checkpoint, or given up."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from batchgrad_service.jobs.restarts import ReconnectBackoff, RestartBudget

if TYPE_CHECKING:
    from tests.supervisor.conftest import Bench

from tests.supervisor.conftest import fast_backoff


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


def test_waits_for_a_cluster_grow_until_the_job_makes_progress() -> None:
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


def test_processes_that_a_dead_engine_leaves_are_ended(bench: Bench) -> None:
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


def test_without_progress_the_job_fails_after_max_restarts_later_and_later(bench: Bench) -> None:
    bench.supervisor(backoff=fast_backoff())
    job_id = bench.submit(crash_at=3, max_restarts=3)
    bench.until_tried(job_id, "failed")
    job = bench.store.job(job_id)
    assert (job.attempts, job.reason) == (4, "engine_died")
    tried = [s.data for s in bench.states(job_id) if s.data["status"] == "recovering"]
    assert [data.get("again_seconds") for data in tried] == [None, 15, 30]
    assert tried[1]["detail"].endswith("SIGKILL. The job tries again in 15 s.")
    last = bench.states(job_id)[-1].data
    assert last["log"] == ["about to crash"]
    bench.until(lambda: bench.ended("failed", "engine_died") == 1)


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


def test_a_line_that_is_not_a_message_ends_the_engine_and_is_shown(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(garbage_at=2, max_restarts=0)
    bench.until_status(job_id, "failed")
    detail = bench.states(job_id)[-1].data["detail"]
    assert "printed b'hello\\n', which is not an engine message" in detail


def test_an_engine_killed_from_outside_is_recovered(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(hold_at=2)
    bench.until_step(job_id, 2)
    os.kill(bench.engine(job_id), signal.SIGKILL)
    bench.until_status(job_id, "succeeded")
    assert bench.store.job(job_id).attempts == 2
