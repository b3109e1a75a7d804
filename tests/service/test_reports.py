"""Reports of engines: stored and counted, unless their attempt is over."""

from random import Random

import orjson

from batchgrad_engine.checkpoints import unstored_messages
from batchgrad_engine.messages import EngineEvent, Observed
from batchgrad_service.jobs.reports import Reports
from tests.service.building import report, row, started
from tests.service.conftest import Bench
from tests.service.test_step_blocks import drawn


def test_a_lost_worker_is_stored_and_counted_unless_the_attempt_is_stale(bench: Bench) -> None:
    reports = Reports(bench.store, bench.metrics, bench.data_dir)
    job_id, attempt = started(bench.store)
    lost = EngineEvent(
        event="worker_lost", data={"worker": 0, "reason": "died", "detail": "it fell"}
    )
    assert reports.take(job_id, attempt, lost, 1)
    assert not reports.take(job_id, attempt - 1, lost, 1)
    answer = bench.http.get(
        f"/v1/jobs/{job_id}/events", headers={"Accept": "application/json"}
    ).json()
    assert [each["data"] for each in answer["data"] if each["type"] == "worker_lost"] == [lost.data]
    assert bench.registry.get_sample_value("batchgrad_workers_lost_total") == 1


def test_a_line_that_comes_twice_is_taken_and_stored_once(bench: Bench) -> None:
    reports = Reports(bench.store, bench.metrics, bench.data_dir)
    job_id, attempt = started(bench.store)
    retried = EngineEvent(event="retry", data={"reason": "died", "microbatches": 3, "detail": "…"})
    for number in (2, 2, 1):
        assert reports.take(job_id, attempt, retried, number)
    assert [event.type for event in bench.store.events(job_id).data].count("retry") == 1


def test_messages_that_the_engine_of_an_earlier_version_left_are_stored(bench: Bench) -> None:
    job_id, attempt = started(bench.store)
    settled = {"executor": "inline", "workers": 0, "threads": 1, "because": "", "milliseconds": {}}
    left = [("retry", {"reason": "died", "microbatches": 3, "detail": "…"}), ("plan", settled)]
    lines = [
        orjson.dumps({"type": "happened", "event": event, "data": data}) for event, data in left
    ]
    folder = bench.data_dir / "jobs" / job_id
    folder.mkdir(parents=True, exist_ok=True)
    unstored_messages.write(folder, attempt, list(enumerate(lines, start=5)))
    Reports(bench.store, bench.metrics, bench.data_dir).take_over(job_id, attempt)
    stored = [(event.type, event.data) for event in bench.store.events(job_id).data]
    assert stored[-2:] == [("retry", left[0][1]), ("executor", settled)]
    assert not (folder / unstored_messages.FILE).exists()


def test_phases_that_the_engine_of_an_earlier_version_wrote_twice_are_stored_once(
    bench: Bench,
) -> None:
    job_id, attempt = started(bench.store)
    before = report(row(1), row(2)).model_dump()
    del before["observed"]["other_phases"]
    before["observed"]["phase_seconds"] = {"compute": [0.001, 0.001], "checkpoint": [3.0]}
    folder = bench.data_dir / "jobs" / job_id
    folder.mkdir(parents=True, exist_ok=True)
    unstored_messages.write(folder, attempt, [(5, orjson.dumps(before))])
    Reports(bench.store, bench.metrics, bench.data_dir).take_over(job_id, attempt)
    stored = bench.store.steps(job_id, after=None, limit=9).data
    assert [each.phases for each in stored] == [{"compute": 0.001}] * 2


def test_phases_of_steps_and_of_other_work_are_counted(bench: Bench) -> None:
    reports = Reports(bench.store, bench.metrics, bench.data_dir)
    job_id, attempt = started(bench.store)
    bench.metrics.begin(bench.store.job(job_id))
    other = row(2).model_copy(update={"phases": {"compute": 0.5, "update": 0.25}})
    two = report(row(1), other)  # in two parts
    two = two.model_copy(update={"observed": Observed(other_phases={"checkpoint": [3.0, 1.0]})})
    same = report(row(3), row(4), row(5))
    columns = {**same.steps[0], "phases": {"compute": 0.125}}  # in every step
    same = same.model_copy(update={"steps": [columns]})
    for line, each in enumerate((two, same), 1):
        assert reports.take(job_id, attempt, each, line)
    value = bench.registry.get_sample_value
    found = {
        phase: (
            value("batchgrad_step_phase_duration_seconds_count", {"phase": phase}),
            value("batchgrad_job_phase_seconds_total", {"job_id": job_id, "phase": phase}),
        )
        for phase in ("compute", "update", "checkpoint")
    }
    assert found == {"compute": (5, 0.876), "update": (1, 0.25), "checkpoint": (2, 4.0)}


def test_rows_that_the_engine_of_an_earlier_version_left_are_stored(bench: Bench) -> None:
    job_id, attempt = started(bench.store)
    rows = [drawn(Random(step), step) for step in range(1, 30)]
    about = report(evaluations=[]).model_dump()
    del about["steps"]
    folder = bench.data_dir / "jobs" / job_id
    folder.mkdir(parents=True, exist_ok=True)
    unstored_messages.write(folder, attempt, [(5, orjson.dumps({**about, "rows": rows}))])
    Reports(bench.store, bench.metrics, bench.data_dir).take_over(job_id, attempt)
    assert [each.step for each in bench.store.steps(job_id, after=None, limit=100).data] == list(
        range(1, 30)
    )
