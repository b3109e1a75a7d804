"""A job that has ended trains on: one job, one history, whose last event is `end`."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from batchgrad.contract import Job, JobStatus, ResumeRequest
from batchgrad_service.jobs.lengthening import longer
from batchgrad_service.problems import ConflictError, IdempotencyConflictError, InvalidError
from tests.service.building import create, spec

if TYPE_CHECKING:
    from batchgrad_service.jobs.supervisor import Supervisor
    from tests.supervisor.conftest import Bench

MORE = ResumeRequest(more_steps=3)


def lengthen(
    supervisor: Supervisor, job_id: str, more: ResumeRequest = MORE, key: str | None = None
) -> Job:
    return supervisor.lengthen(job_id, more, key, more.model_dump_json())


def test_a_job_trains_on_from_its_newest_checkpoint(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(steps=4)
    bench.until_status(job_id, "succeeded")
    first = bench.store.job(job_id)
    queued = lengthen(supervisor, job_id)
    assert (queued.status, queued.finished_at) == ("queued", None)
    assert (queued.spec.steps, queued.steps_planned) == (7, 7)
    bench.until_status(job_id, "succeeded")
    job = bench.store.job(job_id)
    assert (job.step, job.attempts, job.created_at) == (7, 2, first.created_at)
    assert job.started_at == first.started_at
    assert job.finished_at is not None
    assert first.finished_at is not None
    assert job.finished_at > first.finished_at
    start = json.loads((bench.folder(job_id) / "start-2.json").read_text())
    assert start["lengthened_step"] == 4
    rows = bench.store.steps(job_id, after=None, limit=10).data
    assert [row.step for row in rows] == [*range(1, 8)]
    events = bench.store.events(job_id, limit=1000).data
    assert [event.seq for event in events] == [*range(1, len(events) + 1)]
    assert [event.seq for event in events if event.type == "end"] == [len(events)]
    bench.until(lambda: bench.ended("succeeded") == 2)


@pytest.mark.parametrize(("label", "status"), [("fail_at", "failed"), ("hold_at", "cancelled")])
def test_a_failed_or_cancelled_job_trains_on_too(
    bench: Bench, label: str, status: JobStatus
) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(steps=9, **{label: 3})
    if status == "cancelled":
        bench.until_step(job_id, 3)
        supervisor.cancel(job_id)
    bench.until_status(job_id, status)
    kept = bench.store.checkpoints(job_id)[0].checkpoint.step
    queued = lengthen(supervisor, job_id, ResumeRequest(more_steps=1))
    assert (queued.steps_planned, queued.reason) == (kept + 1, None)
    if status == "cancelled":  # the fake engine fails at step 3 whenever it gets there
        bench.until_status(job_id, "succeeded")


def test_the_same_key_lengthens_once(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(steps=2)
    bench.until_status(job_id, "succeeded")
    lengthen(supervisor, job_id, key="k")
    bench.until_status(job_id, "succeeded")
    again = lengthen(supervisor, job_id, key="k")
    assert (again.status, again.steps_planned) == ("succeeded", 5)
    with pytest.raises(IdempotencyConflictError):
        lengthen(supervisor, job_id, ResumeRequest(more_steps=4), key="k")
    assert bench.store.job(job_id).attempts == 2


def test_of_many_at_once_one_lengthens(bench: Bench) -> None:
    store = bench.store
    job = create(store)
    store.transition(job.id, to="cancelled", allowed=["queued"])
    outcomes: list[Job | None] = []

    def go(number: int) -> None:
        changes: dict[str, Any] = {"from_step": 3, "warnings": [], "idempotency_key": None}
        outcomes.append(
            store.lengthen(job.id, job.spec, steps_planned=30 + number, body_digest="", **changes)
        )

    threads = [threading.Thread(target=go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in outcomes if one is not None]) == 1


def test_what_cannot_train_on_is_refused(bench: Bench) -> None:
    supervisor = bench.supervisor(at_once=1)
    running, queued = bench.submit(hold_at=1), bench.submit()
    bench.until_step(running, 1)
    for job_id in (running, queued):
        with pytest.raises(ConflictError, match="only a job that has ended"):
            lengthen(supervisor, job_id)
    supervisor.cancel(queued)
    with pytest.raises(ConflictError, match="before its first checkpoint") as caught:
        lengthen(supervisor, queued)
    assert caught.value.code == "ended_without_checkpoint"
    with pytest.raises(ConflictError, match="more_epochs or more_steps"):
        supervisor.resume(queued)


@pytest.mark.parametrize(
    ("request_", "from_step", "epochs", "steps", "planned"),
    [
        ({"more_epochs": 3}, 20, 7, None, 35),
        ({"more_epochs": 3}, 17, 7, None, 35),  # the epoch of the checkpoint is completed first
        ({"more_epochs": 1}, 0, 1, None, 5),
        ({"more_steps": 3}, 17, None, 20, 20),
    ],
)
def test_more_is_counted_from_the_checkpoint(
    request_: dict[str, int], from_step: int, epochs: int | None, steps: int | None, planned: int
) -> None:
    found = longer(spec(steps=None, epochs=4), from_step, 5, ResumeRequest.model_validate(request_))
    assert (found.spec.epochs, found.spec.steps) == (epochs, steps)
    assert (found.steps_planned, found.from_step, found.warnings) == (planned, from_step, [])


def test_a_schedule_over_the_whole_length_warns_and_a_length_has_a_limit() -> None:
    cosine = {"kind": "sgd", "learning_rate": 0.1, "schedule": {"kind": "cosine"}}
    [warning] = longer(spec(optimizer=cosine), 20, 5, MORE).warnings
    assert "cosine schedule now covers the new length" in warning
    with pytest.raises(InvalidError, match="too long"):
        longer(spec(), 10, 5, ResumeRequest(more_steps=10**9))
