"""The commands of users, and the order in which jobs run."""

from __future__ import annotations

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from batchgrad_service.problems import ConflictError, NotFoundError

if TYPE_CHECKING:
    from tests.supervisor.conftest import Bench


def test_a_job_runs_to_its_end(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(steps=6)
    bench.until_status(job_id, "succeeded")
    assert bench.path(job_id) == ["queued", "starting", "running", "succeeded"]
    job = bench.store.job(job_id)
    assert (job.step, job.attempts, job.executor) == (6, 1, "inline")
    assert bench.store.events(job_id, limit=1000).data[-1].type == "end"
    assert [row.step for row in bench.store.steps(job_id, after=None, limit=10).data] == [
        *range(1, 7)
    ]
    bench.until(lambda: bench.ended("succeeded") == 1)
    waited = bench.registry.get_sample_value("batchgrad_job_queue_wait_seconds_count")
    assert waited == 1
    assert supervisor.ready()


def test_the_newest_three_checkpoints_are_kept(bench: Bench) -> None:
    bench.supervisor()
    job_id = bench.submit(steps=8)
    bench.until_status(job_id, "succeeded")
    assert [c.checkpoint.step for c in bench.store.checkpoints(job_id)] == [8, 7, 6]
    files = sorted(path.name for path in bench.folder(job_id).glob("step-*"))
    assert files == [f"step-00000{step}.safetensors" for step in (6, 7, 8)]


def test_first_come_first_served_and_the_next_says_why_it_waits(bench: Bench) -> None:
    first, second, third = (bench.submit(hold_at=1), bench.submit(), bench.submit())
    supervisor = bench.supervisor(at_once=1)
    bench.until_step(first, 1)
    bench.until(lambda: bench.store.job(third).queued_because is not None)
    assert "max_running_jobs = 1" in (bench.store.job(second).queued_because or "")
    supervisor.cancel(first)
    bench.until_status(third, "succeeded")
    finished = [bench.store.job(job_id).finished_at for job_id in (first, second, third)]
    assert finished == sorted(finished, key=str)
    assert bench.store.job(second).queued_because is None


def test_a_queued_job_is_cancelled_or_paused_without_an_engine(bench: Bench) -> None:
    holder, cancelled, paused = bench.submit(hold_at=1), bench.submit(), bench.submit()
    supervisor = bench.supervisor(at_once=1)
    bench.until_step(holder, 1)
    assert supervisor.cancel(cancelled).status == "cancelled"
    assert supervisor.pause(paused).status == "paused"
    assert supervisor.pause(paused).status == "paused"
    assert supervisor.resume(paused).status == "queued"
    assert supervisor.pause(paused).status == "paused"
    assert supervisor.cancel(paused).status == "cancelled"
    assert not bench.folder(cancelled).exists()
    bench.until(lambda: bench.ended("cancelled") == 2)


def test_cancel_ends_a_running_job_at_its_step(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(hold_at=2)
    bench.until_step(job_id, 2)
    assert supervisor.cancel(job_id).status == "cancelling"
    bench.until_status(job_id, "cancelled")
    assert bench.path(job_id)[-3:] == ["running", "cancelling", "cancelled"]
    with pytest.raises(ConflictError, match="is cancelled and cannot be cancelled"):
        supervisor.cancel(job_id)
    with pytest.raises(ConflictError, match="cannot be paused"):
        supervisor.pause(job_id)
    with pytest.raises(ConflictError, match="cannot be resumed"):
        supervisor.resume(job_id)
    with pytest.raises(NotFoundError):
        supervisor.cancel("job_none")


def test_an_engine_that_ignores_commands_is_killed(bench: Bench) -> None:
    supervisor = bench.supervisor(grace=0.3)
    cancelled, paused = bench.submit(hang_at=1), bench.submit(hang_at=2)
    bench.until_step(cancelled, 1)
    bench.until_step(paused, 2)
    assert supervisor.cancel(cancelled).status == "cancelling"
    assert supervisor.cancel(cancelled).status == "cancelling", "idempotent"
    assert supervisor.pause(paused).status == "pausing"
    assert supervisor.pause(paused).status == "pausing", "idempotent"
    with pytest.raises(ConflictError, match="wait until it is paused"):
        supervisor.resume(paused)
    with pytest.raises(ConflictError, match="is cancelling and cannot be paused"):
        supervisor.pause(cancelled)
    bench.until_status(cancelled, "cancelled")
    bench.until_status(paused, "paused")


def test_pause_and_resume_go_on_from_the_checkpoint(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(hold_at=3)
    bench.until_step(job_id, 3)
    assert supervisor.resume(job_id).status == "running", "it goes on anyway"
    assert supervisor.pause(job_id).status == "pausing"
    bench.until_status(job_id, "paused")
    shown = bench.registry.get_sample_value("batchgrad_job_step", {"job_id": job_id})
    assert shown is None, "series end when the job does not run"
    assert supervisor.resume(job_id).status == "queued"
    bench.until_status(job_id, "succeeded")
    assert bench.path(job_id) == [
        *("queued", "starting", "running", "pausing", "paused"),
        *("queued", "starting", "running", "succeeded"),
    ]
    assert bench.store.job(job_id).attempts == 2
    assert not bench.folder(job_id).joinpath("start-3.json").exists()


def test_a_pausing_job_can_still_be_cancelled(bench: Bench) -> None:
    supervisor = bench.supervisor(grace=0.3)
    job_id = bench.submit(hang_at=1)
    bench.until_step(job_id, 1)
    supervisor.pause(job_id)
    assert supervisor.cancel(job_id).status == "cancelling"
    bench.until_status(job_id, "cancelled")


def test_many_cancels_and_pauses_at_once_have_one_outcome(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_ids = [bench.submit(steps=40) for _ in range(3)]

    def want(index: int) -> None:
        wish = supervisor.pause if index % 2 else supervisor.cancel
        try:
            wish(job_ids[index % 3])
        except ConflictError:
            time.sleep(0)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(want, range(24)))
    for job_id in job_ids:
        bench.until_status(job_id, "cancelled", "succeeded")
        assert [e.type for e in bench.store.events(job_id, limit=1000).data].count("end") == 1


def test_an_engine_that_stays_after_its_last_message_is_ended(bench: Bench) -> None:
    bench.supervisor(grace=0.3)
    job_id = bench.submit(linger=1, child=1)
    bench.until_status(job_id, "succeeded")
    bench.until_gone(int((bench.folder(job_id) / "child").read_text()))
    assert bench.path(job_id)[-1] == "succeeded"


@pytest.mark.parametrize(("workers", "requested"), [(0, []), ("auto", []), (2, [2])])
def test_only_a_job_with_workers_needs_a_cluster(
    bench: Bench, workers: int | str, requested: list[int]
) -> None:
    bench.supervisor()
    job_id = bench.submit(workers=workers)
    bench.until_status(job_id, "succeeded")
    assert bench.cluster.requested == requested
    start = (bench.folder(job_id) / "start-1.json").read_text()
    assert ('"ray_address": "127.0.0.1:1"' in start) == bool(requested)
    assert os.environ.get("SEEN") is None


@pytest.mark.parametrize("broken", [False, True])
def test_a_running_engine_may_request_the_cluster(bench: Bench, broken: bool) -> None:
    bench.cluster.broken = broken
    bench.supervisor()
    job_id = bench.submit(workers="auto", wants_cluster=7)
    bench.until_status(job_id, "succeeded")
    assert bench.cluster.requested == [7]
    answer = json.loads((bench.folder(job_id) / "cluster").read_text())
    assert answer["address"] == (None if broken else "127.0.0.1:1")
    assert answer["environment"] == ({} if broken else {"SEEN": "yes"})
    assert answer["detail"] == ("no room for Ray" if broken else "")


def test_a_range_requests_its_most_workers(bench: Bench) -> None:
    bench.supervisor()
    bench.until_status(bench.submit(workers={"min": 1, "max": 3}), "succeeded")
    assert bench.cluster.requested == [3]


def test_a_job_can_be_deleted_at_the_moment_when_it_ends(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(linger=1)  # its engine stays after its last word
    bench.until_status(job_id, "succeeded")
    supervisor.end_engine(job_id, 0.1)
    shutil.rmtree(bench.folder(job_id))
    bench.store.delete_job(job_id)
    supervisor.stop()
    assert not bench.folder(job_id).exists()
    assert not [record for record in caplog.records if record.exc_info]
