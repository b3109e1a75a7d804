"""Remembered JSON of jobs: equal to what is stored, also when a commit comes while it is read."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from batchgrad.contract import Job
from batchgrad_engine.messages import Evaluated, Warned
from batchgrad_service.http.job_answers import REMEMBERED, JobAnswers
from batchgrad_service.problems import NotFoundError
from batchgrad_service.store import MessageId, Store
from batchgrad_service.store.database import ReadJob
from tests.service.building import checkpointed, create, problem, report, row, started
from tests.service.conftest import Bench


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
        assert answers.remembered(job_id) in (None, stored(store, job_id))
    assert answers.read(job_id) == stored(store, job_id)
    store.delete_job(job_id)
    assert answers.remembered(job_id) is None
    with pytest.raises(NotFoundError):
        answers.read(job_id)


def test_a_report_brings_the_job_along(store: Store) -> None:
    answers = JobAnswers(store)
    job_id, attempt = started(store)
    evaluation = Evaluated(step=2, epoch=1, validation_loss=0.5, validation_accuracy=0.25)
    reports = (
        report(row(1)),
        report(row(2), evaluations=[evaluation]),
        report(row(3), row(4)).model_copy(update={"warnings": [Warned(step=4, detail="odd")]}),
        report(),
        report(row(2)),  # computed again
    )
    answers.read(job_id)
    for line, each in enumerate(reports, 1):
        assert store.record_report(job_id, attempt, each, MessageId(attempt, line))
        assert answers.remembered(job_id) == answers.remembered(job_id) == stored(store, job_id)
    assert store.record_report(job_id, attempt, reports[0], MessageId(attempt, 1))  # known
    assert answers.remembered(job_id) in (None, stored(store, job_id))
    answers.read(job_id)
    assert not store.record_report(job_id, attempt - 1, reports[0], None)
    assert answers.remembered(job_id) in (None, stored(store, job_id))


def test_a_job_that_nobody_asks_for_is_not_remembered(store: Store) -> None:
    answers = JobAnswers(store)
    job_id, attempt = started(store)
    store.record_report(job_id, attempt, report(row(1)), None)
    assert answers.remembered(job_id) is None


def test_a_commit_while_json_is_made_wins(store: Store) -> None:
    job_id, attempt = started(store)
    answers = JobAnswers(store)
    answers.read(job_id)

    def overtaken() -> Job:
        found = store.job(job_id)
        store.record_report(job_id, attempt, report(row(1)), None)
        return found

    answers._committed(job_id, overtaken)
    answers.remembered(job_id)
    assert answers.remembered(job_id) == stored(store, job_id)


def test_commits_are_told_in_their_order(store: Store) -> None:
    job_id, attempt = started(store)
    told: list[str] = []
    pausing = threading.Thread(target=store.transition, args=(job_id,), kwargs={"to": "pausing"})

    def tell(_: str, job: ReadJob | None) -> None:
        if job is None:
            told.append("pausing")
            return
        pausing.start()
        pausing.join(0.3)  # it must not come in between
        told.append("report")

    store.after_commits(tell)
    store.record_report(job_id, attempt, report(row(1)), None)
    pausing.join()
    assert told == ["report", "pausing"]


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


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_remembered_job_is_answered_counted_and_logged_like_one_that_is_read(
    bench: Bench, method: str
) -> None:
    job_id = create(bench.store).id
    answers, logs = [], []
    for _ in range(2):  # the second one is remembered
        with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
            answer = bench.http.request(
                method, f"/v1/jobs/{job_id}?a=b", headers={"X-Request-ID": "mine"}
            )
        answers.append((answer.status_code, sorted(answer.headers.items()), answer.content))
        logs.append([{**line, "seconds": None} for line in logged])
    assert answers[0] == answers[1]
    assert logs[0] == logs[1]
    (line,) = logs[0]
    assert (line["route"], line["job_id"]) == ("/v1/jobs/{job_id}", job_id)
    labels = {"method": method, "route": "/v1/jobs/{job_id}", "status": "200"}
    counted = "batchgrad_http_request_duration_seconds_count"
    assert bench.registry.get_sample_value(counted, labels) == 2


def test_a_watched_job_is_never_older_than_its_last_commit(bench: Bench) -> None:
    job_id, attempt = started(bench.store)
    for step in (1, 2):
        bench.store.record_report(job_id, attempt, report(row(step)), None)
        for _ in range(2):
            assert bench.http.get(f"/v1/jobs/{job_id}").json()["step"] == step
    for status in ("pausing", "paused", "cancelled"):
        bench.store.transition(job_id, to=status)
        for _ in range(2):
            assert bench.http.get(f"/v1/jobs/{job_id}").json()["status"] == status
    assert bench.http.delete(f"/v1/jobs/{job_id}").status_code == 204
    problem(bench.http.get(f"/v1/jobs/{job_id}"), 404)


def test_a_remembered_job_needs_the_token_and_this_services_host(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef-token\n")
    bench = make_bench(token_file=file)
    path = f"/v1/jobs/{create(bench.store).id}"
    right = {"Authorization": f"Bearer {file.read_text().strip()}"}
    for _ in range(2):
        assert bench.http.get(path, headers=right).status_code == 200
    problem(bench.http.get(path), 401)
    problem(bench.http.get(path, headers={**right, "Host": "other.example"}), 421)
    problem(bench.http.post(path, headers=right), 405)
