"""Jobs wait while the disk is full or nearly full; none fails or loses a restart."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from batchgrad_service.jobs import supervisor

if TYPE_CHECKING:
    import pytest

    from tests.supervisor.conftest import Bench


def test_jobs_are_suspended_while_there_is_little_space(bench: Bench) -> None:
    bench.supervisor(at_once=1)
    running = bench.submit(hold_at=2, max_restarts=0)
    bench.until_step(running, 2)
    waiting = bench.submit()
    bench.free_bytes = 0
    bench.until_status(running, "recovering")
    job = bench.store.job(running)
    assert job.reason == "disk_full"
    assert "min_free_disk_bytes" in bench.states(running)[-1].data["detail"]
    assert "continues by itself" in bench.states(running)[-1].data["detail"]
    bench.until(lambda: "min_free_disk_bytes" in (bench.store.job(waiting).queued_because or ""))
    bench.free_bytes = 2**40
    for job_id in (running, waiting):
        bench.until_status(job_id, "succeeded")
    assert bench.store.job(running).attempts == 2
    assert bench.store.job(running).step == 5


def test_an_engine_that_cannot_write_is_tried_again(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(full_at=3, max_restarts=0)

    def succeeded() -> bool:
        supervisor.notify()  # it would look again every few seconds
        return bench.status(job_id) == "succeeded"

    bench.until(succeeded)
    assert bench.path(job_id) == [
        *("queued", "starting", "running"),
        *("recovering", "starting", "running", "succeeded"),
    ]
    statuses = bench.states(job_id)[3].data
    assert statuses["reason"] == "disk_full"
    assert statuses["detail"].startswith("The disk is full. The job tries again in ")


def test_a_disk_that_does_not_report_its_space_ends_no_supervisor(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("DISK_CHECK_SECONDS", "CYCLE_SECONDS"):
        monkeypatch.setattr(supervisor, name, 0.02)
    made = bench.supervisor()
    bench.until(made.ready)
    bench.disk_error = OSError(errno.ESTALE, "Stale file handle")
    bench.until(lambda: "The supervisor failed" in caplog.text)
    bench.disk_error = None
    bench.until_status(bench.submit(), "succeeded")
    assert made.ready()


def test_a_pause_or_cancel_wins_over_waiting_for_space(bench: Bench) -> None:
    bench.free_bytes = 0
    supervisor = bench.supervisor()
    paused, cancelled = bench.submit(), bench.submit()
    assert supervisor.pause(paused).status == "paused"
    assert supervisor.cancel(cancelled).status == "cancelled"
