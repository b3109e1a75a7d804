"""What engines report is stored and counted, unless their attempt is over."""

from random import Random

import orjson

from batchgrad_engine.checkpoints import unstored_messages
from batchgrad_engine.messages import EngineEvent
from batchgrad_service.jobs.reports import Reports
from tests.service.building import report, started
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
