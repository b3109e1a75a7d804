"""Remembered JSON of jobs: equal to what is stored, also when a commit comes while it is read."""

from typing import Any

import pytest

from batchgrad_service.http.job_answers import REMEMBERED, JobAnswers
from batchgrad_service.problems import NotFoundError
from batchgrad_service.store import Store
from tests.service.building import checkpointed, create, report, row, started


def stored(store: Store, job_id: str) -> bytes:
    return store.job(job_id).model_dump_json().encode()


def test_what_is_remembered_is_what_is_stored_after_each_kind_of_change(store: Store) -> None:
    answers = JobAnswers(store)
    job_id, attempt = started(store)
    changes = (
        lambda: store.record_report(job_id, attempt, report(row(1)), None),
        lambda: store.record_checkpoint(job_id, attempt, checkpointed(1), None),
        lambda: store.transition(job_id, to="pausing"),
        lambda: store.transition(job_id, to="paused"),
        lambda: store.transition(job_id, to="cancelled", allowed=["paused"]),
    )
    for change in changes:
        assert answers.read(job_id) == answers.remembered(job_id) == stored(store, job_id)
        change()
        assert answers.remembered(job_id) is None
    assert answers.read(job_id) == stored(store, job_id)
    store.delete_job(job_id)
    assert answers.remembered(job_id) is None
    with pytest.raises(NotFoundError):
        answers.read(job_id)


def test_what_a_commit_overtakes_is_not_remembered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = JobAnswers(store)
    job_id, attempt = started(store)
    read = store.job

    def overtaken(of: str) -> Any:
        found = read(of)
        store.record_report(job_id, attempt, report(row(1)), None)
        return found

    monkeypatch.setattr(store, "job", overtaken)
    answers.read(job_id)
    assert answers.remembered(job_id) is None


def test_few_jobs_are_remembered(store: Store) -> None:
    answers = JobAnswers(store)
    ids = [create(store).id for _ in range(REMEMBERED + 2)]
    for each in ids:
        answers.read(each)
    assert [answers.remembered(each) is None for each in ids[:3]] == [True, True, False]
