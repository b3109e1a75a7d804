"""The store: jobs, transitions, reports, events, datasets and subscribers."""

import itertools
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from batchgrad.contract import FIGURES, Checkpoint, Plan
from batchgrad_engine.messages import EngineEvent, Evaluated, Started
from batchgrad_service.problems import (
    ConflictError,
    IdempotencyConflictError,
    InvalidError,
    NotFoundError,
)
from batchgrad_service.store import Store
from batchgrad_service.store.schema import metadata
from tests.service.building import (
    DIGEST,
    NOW,
    PLAN,
    checkpointed,
    create,
    dataset,
    report,
    row,
    started,
)


def types(store: Store, job_id: str) -> list[str]:
    return [event.type for event in store.events(job_id).data]


def test_migrations_and_tables_are_the_same(store: Store) -> None:
    store.migrate()  # a second time changes nothing
    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_created_job_reads_back_with_its_first_events(store: Store) -> None:
    job = create(store, labels={"team": "blue"}, warnings=["watch out"])
    assert store.job(job.id) == job
    assert (job.status, job.step, job.steps_planned, job.attempts) == ("queued", 0, 20, 0)
    assert job.warnings == ["watch out"]
    assert job.labels == {"team": "blue"}
    assert job.created_at.tzinfo is not None
    events = store.events(job.id).data
    assert [(event.seq, event.type) for event in events] == [
        (1, "state"),
        (2, "plan"),
        (3, "warning"),
    ]
    assert events[2].data == {"detail": "watch out"}
    assert Plan.model_validate(events[1].data) == PLAN


def test_the_same_idempotency_key_gives_the_same_job(store: Store) -> None:
    first = create(store, key="k")
    assert create(store, key="k") == first
    assert store.replayed_job("k", "b") == first
    assert store.replayed_job("other", "b") is None
    with pytest.raises(IdempotencyConflictError, match=first.id):
        create(store, key="k", body="other")
    assert len(store.jobs().data) == 1


def test_a_transition_needs_its_condition(store: Store) -> None:
    job = create(store)
    assert store.transition(job.id, to="pausing") is None
    assert store.begin_attempt(job.id) == 1
    assert store.begin_attempt(job.id) is None
    assert store.transition(job.id, to="running", allowed=["starting"], attempt=7) is None
    running = store.transition(job.id, to="running", allowed=["starting"], attempt=1)
    assert running is not None
    assert running.started_at is not None
    assert types(store, job.id) == ["state", "plan", "state", "state"]


def test_a_terminal_state_is_followed_by_the_last_event(store: Store) -> None:
    job_id, attempt = started(store)
    job = store.transition(
        job_id, to="failed", allowed=["running"], reason="nonfinite", data={"examples": [4]}
    )
    assert job is not None
    assert job.finished_at is not None
    state, end = store.events(job_id).data[-2:]
    assert state.data == {"status": "failed", "reason": "nonfinite", "examples": [4]}
    assert (end.type, end.data) == ("end", {"status": "failed", "reason": "nonfinite"})
    assert not store.record_event(job_id, attempt, EngineEvent(event="warning", data={}))
    assert types(store, job_id)[-1] == "end"


def test_started_at_is_that_of_the_first_run(tmp_path: Path) -> None:
    times = iter(NOW + timedelta(seconds=n) for n in range(100))
    store = Store(f"sqlite:///{tmp_path}/s.sqlite3", clock=lambda: next(times))
    store.migrate()
    job_id, _ = started(store)
    first = store.job(job_id).started_at
    store.transition(job_id, to="recovering")
    assert store.begin_attempt(job_id) == 2
    store.transition(job_id, to="running")
    assert store.job(job_id).started_at == first
    store.close()


def test_a_report_updates_the_job_and_stores_each_step_once(store: Store) -> None:
    job_id, attempt = started(store)
    assert store.record_started(
        job_id,
        attempt,
        Started(executor="ray", workers=2, threads=3, step=0, steps_planned=20),
    )
    assert store.record_report(job_id, attempt, report(row(1), row(2, loss=0.5)))
    assert store.record_report(job_id, attempt, report(row(2, loss=0.25), row(3, loss=0.125)))
    job = store.job(job_id)
    assert (job.step, job.loss, job.workers, job.executor) == (3, 0.125, 2, "ray")
    assert job.shortcuts["averaged_error"].relative_error == 0.25
    page = store.steps(job_id, after=None, limit=2)
    assert page.data == [row(1), row(2, loss=0.25)]
    assert page.next == "2"
    assert store.steps(job_id, after=2, limit=2).data == [row(3, loss=0.125)]
    progress = store.events(job_id).data[-1]
    assert progress.type == "progress"
    assert progress.data == {
        "step": 3,
        "steps_planned": 20,
        "epoch": 1,
        **{name: getattr(row(3, loss=0.125), name) for name in FIGURES},
        "shortcuts": {"averaged_error": 0.25},
        "examples_per_second": 1000.0,
    }


def test_a_step_without_a_loss_is_a_step(store: Store) -> None:
    job_id, attempt = started(store)
    empty = row(1).model_copy(update={"loss": None})
    assert store.record_report(job_id, attempt, report(empty))
    assert store.steps(job_id, after=None, limit=1).data == [empty]
    assert store.job(job_id).loss is None


def test_a_report_without_steps_makes_no_event(store: Store) -> None:
    job_id, attempt = started(store)
    before = types(store, job_id)
    assert store.record_report(job_id, attempt, report())
    assert types(store, job_id) == before


def test_a_stale_attempt_changes_nothing(store: Store) -> None:
    job_id, attempt = started(store)
    store.transition(job_id, to="recovering")
    assert store.begin_attempt(job_id) == attempt + 1
    before = (store.job(job_id), store.events(job_id))
    started_again = Started(executor="inline", workers=0, threads=1, step=9, steps_planned=20)
    assert not store.record_started(job_id, attempt, started_again)
    assert not store.record_report(job_id, attempt, report(row(1)))
    assert not store.record_checkpoint(job_id, attempt, checkpointed(1))
    assert not store.record_event(job_id, attempt, EngineEvent(event="warning", data={}))
    assert (store.job(job_id), store.events(job_id)) == before
    assert store.checkpoints(job_id) == []
    assert store.steps(job_id, after=None, limit=5).data == []


def test_evaluations_and_checkpoints(store: Store) -> None:
    job_id, attempt = started(store)
    evaluated = Evaluated(step=5, epoch=1, validation_loss=0.5, validation_accuracy=None)
    assert store.record_report(job_id, attempt, report(row(5), evaluations=[evaluated]))
    for step in (5, 10, 10):
        assert store.record_checkpoint(job_id, attempt, checkpointed(step))
    job = store.job(job_id)
    assert (job.validation_loss, job.validation_accuracy) == (0.5, None)
    assert (job.parameters_digest, job.parameters_step) == ("sha256:" + "b" * 64, 10)
    newest, older = store.checkpoints(job_id)
    assert newest.file == "step-10.safetensors"
    assert older.checkpoint == Checkpoint.model_validate(checkpointed(5).model_dump())
    store.drop_checkpoints(job_id, ["step-5.safetensors"])
    assert [kept.checkpoint.step for kept in store.checkpoints(job_id)] == [10]


@pytest.mark.parametrize("count", [1, 2, 5, 7, 100])
@pytest.mark.parametrize("points", [2, 3, 5])
def test_thinning_keeps_the_first_the_last_and_the_number(
    store: Store, count: int, points: int
) -> None:
    job_id, attempt = started(store)
    store.record_report(job_id, attempt, report(*(row(step) for step in range(1, count + 1))))
    kept = [step["step"] for step in store.thinned_steps(job_id, points)]
    assert len(kept) == min(count, points)
    assert kept[0] == 1
    assert kept[-1] == count
    gaps = [b - a for a, b in itertools.pairwise(kept)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_thinning_to_less_than_two_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="max_points is 1"):
        store.thinned_steps(create(store).id, 1)


def test_jobs_come_newest_first_in_pages(store: Store) -> None:
    made = [create(store).id for _ in range(5)]
    page = store.jobs(limit=2)
    seen = list(page.data)
    while page.next is not None:
        page = store.jobs(limit=2, after=page.next)
        seen += page.data
    assert [job.id for job in seen] == made[::-1]
    with pytest.raises(InvalidError, match="next"):
        store.jobs(after="é")


def test_jobs_are_found_by_status_and_label(store: Store) -> None:
    blue = create(store, labels={"team": "blue"})
    create(store, labels={"team": "red"})
    store.begin_attempt(blue.id)
    assert [job.id for job in store.jobs(label=("team", "blue")).data] == [blue.id]
    assert [job.id for job in store.jobs(statuses=["starting"]).data] == [blue.id]
    assert store.jobs(statuses=[]).data == []
    counts = store.count_by_status()
    assert (counts["starting"], counts["queued"], counts["failed"]) == (1, 1, 0)


def test_jobs_are_found_by_words(store: Store) -> None:
    first = create(store, name="Digits-wide", labels={"team": "blue sky", "sweep": "rates"}).id
    second = create(store, name="other", dataset="di_gits").id

    def found(search: str) -> list[str]:
        return [job.id for job in store.jobs(search=search).data]

    assert found("") == found("  ") == found("job_") == [second, first]
    assert found("digits") == found("WIDE digits") == found(f"wide {first}") == [first]
    assert found("sweep=rates") == found("team=blue sky") == found("am=bl") == [first]
    assert found("di_g") == [second]  # no wildcard
    assert found("%") == found("wide other") == found("sweep=rates team=red") == []
    page = store.jobs(search="job", limit=1)
    assert [job.id for job in store.jobs(search="job", limit=1, after=page.next).data] == [first]


def test_only_a_finished_job_can_be_deleted(store: Store) -> None:
    job_id, attempt = started(store, key="k")
    store.record_report(job_id, attempt, report(row(1)))
    with pytest.raises(ConflictError, match="running"):
        store.delete_job(job_id)
    store.transition(job_id, to="succeeded")
    store.delete_job(job_id)
    with pytest.raises(NotFoundError):
        store.job(job_id)
    with pytest.raises(NotFoundError):
        store.events(job_id)
    assert store.replayed_job("k", "b") is None


def test_a_queued_job_says_why_it_waits_and_forgets_it_when_it_starts(store: Store) -> None:
    job = create(store)
    store.set_queued_because(job.id, "4 jobs are running, which is the limit")
    assert store.job(job.id).queued_because == "4 jobs are running, which is the limit"
    store.begin_attempt(job.id)
    assert store.job(job.id).queued_because is None


def test_a_dataset_keeps_its_content_unless_replaced(store: Store) -> None:
    other = dataset(digest="sha256:" + "c" * 64)
    assert store.put_dataset(dataset(), replace=False) == "created"
    assert store.put_dataset(dataset(), replace=False) == "same"
    assert store.put_dataset(other, replace=False) == "conflict"
    assert store.dataset("digits") == dataset()
    assert store.put_dataset(other, replace=True) == "replaced"
    assert store.dataset("digits") == other
    assert store.put_dataset(dataset("a"), replace=False) == "created"
    first = store.datasets(limit=1)
    assert [found.name for found in first.data] == ["a"]
    assert [found.name for found in store.datasets(after=first.next).data] == ["digits"]


def test_a_dataset_stays_while_a_job_needs_it(store: Store) -> None:
    store.put_dataset(dataset(), replace=False)
    job = create(store)
    with pytest.raises(ConflictError, match=job.id):
        store.delete_dataset("digits")
    store.transition(job.id, to="cancelled", allowed=["queued"])
    store.delete_dataset("digits")
    assert not store.dataset_digest_in_use(DIGEST)
    with pytest.raises(NotFoundError):
        store.delete_dataset("digits")


def test_subscribers_are_called_after_each_commit_inside_the_block(store: Store) -> None:
    job_id, attempt = started(store)
    counts: list[int] = []
    with store.subscribe(job_id, lambda: counts.append(len(store.events(job_id).data))):
        before = len(store.events(job_id).data)
        store.record_event(job_id, attempt, EngineEvent(event="warning", data={"text": "x"}))
    assert counts == [before + 1]  # called after the commit
    store.record_event(job_id, attempt, EngineEvent(event="warning", data={}))
    assert len(counts) == 1


def test_threads_leave_no_gap_in_the_events(store: Store) -> None:
    job_id, attempt = started(store)
    base = len(store.events(job_id).data)

    def store_event() -> None:
        for _ in range(10):
            assert store.record_event(job_id, attempt, EngineEvent(event="retry", data={}))

    threads = [threading.Thread(target=store_event) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.events(job_id, limit=1000).data
    assert [event.seq for event in found] == list(range(1, base + 41))
