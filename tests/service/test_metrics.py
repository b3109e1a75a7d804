"""Metrics of jobs, workers and requests."""

from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from batchgrad.contract import EXAMPLE_NORM_BOUNDS, JOB_STATUSES, StepRow
from batchgrad_engine import failures
from batchgrad_engine.messages import ClusterSeen, EngineEvent, Evaluated, Observed, Report
from batchgrad_service.metrics.histogram import BulkHistogram
from batchgrad_service.metrics.job import PHASES
from batchgrad_service.metrics.jobs import MAX_JOBS, MAX_LAYERS
from batchgrad_service.metrics.registry import FAILURES, Metrics
from batchgrad_service.store import Store
from tests.service.building import NOW, checkpointed, create, report, row, spec, started
from tests.service.conftest import Bench

REPORTED = report(row(7, loss=0.5))
BUCKETS = [0] * (len(EXAMPLE_NORM_BOUNDS) + 1)
BUCKETS[3], BUCKETS[-1] = 2, 1


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry, store: Store) -> Metrics:
    return Metrics(registry, version="1.2", count_jobs=store.count_by_status, clock=lambda: 99.0)


def observed(**counts: Any) -> Report:
    return REPORTED.model_copy(update={"observed": Observed(**counts)})


def value(registry: CollectorRegistry, name: str, /, **labels: str) -> float | None:
    return registry.get_sample_value(f"batchgrad_{name}", labels)


def test_known_series_start_at_zero(registry: CollectorRegistry, metrics: Metrics) -> None:
    for state in JOB_STATUSES:
        assert value(registry, "jobs", state=state) == 0
    for phase in PHASES:
        assert value(registry, "step_phase_duration_seconds_count", phase=phase) == 0
    assert value(registry, "jobs_finished_total", outcome="succeeded", reason="") == 0
    for reason in FAILURES:
        assert value(registry, "jobs_finished_total", outcome="failed", reason=reason) == 0
    assert value(registry, "workers_lost_total") == 0
    assert value(registry, "example_gradient_norm_count") == 0
    assert value(registry, "job_queue_wait_seconds_count") == 0
    assert value(registry, "bytes_transferred_total", direction="in", transport="ray") == 0


def test_a_running_job_is_shown_until_it_is_forgotten(
    registry: CollectorRegistry, metrics: Metrics, store: Store
) -> None:
    job = create(store)
    metrics.begin(job)
    metrics.observe(job.id, observed(examples=10))
    evaluated = Evaluated(step=7, epoch=1, validation_loss=0.75, validation_accuracy=0.9)
    last = observed(examples=5, other_phases={"checkpoint": [0.5, 0.25]}, norm_buckets=BUCKETS)
    metrics.observe(job.id, last.model_copy(update={"evaluations": [evaluated]}))
    assert value(registry, "jobs", state="queued") == 1
    assert value(registry, "workers", state="running") == 2
    mine = {"job_id": job.id}
    assert value(registry, "job_info", **mine, name="digits", dataset="digits") == 1
    assert value(registry, "job_loss", **mine, split="train") == 0.5
    assert value(registry, "job_loss", **mine, split="validation") == 0.75
    assert value(registry, "job_accuracy", **mine, split="validation") == 0.9
    assert value(registry, "job_phase_seconds_total", **mine, phase="checkpoint") == 0.75
    assert value(registry, "job_phase_seconds_total", **mine, phase="compute") == 0.002
    assert value(registry, "job_phase_seconds_total", **mine, phase="update") == 0
    assert value(registry, "job_example_gradient_norm_bucket", **mine, le="0.0005") == 0
    assert value(registry, "job_example_gradient_norm_bucket", **mine, le="0.001") == 2
    assert value(registry, "job_example_gradient_norm_count", **mine) == 3
    assert value(registry, "job_batch_size", **mine) == 10
    assert value(registry, "job_checkpoint_interval_seconds", **mine) == 30
    assert value(registry, "job_step", **mine) == 7
    assert value(registry, "job_steps_planned", **mine) == 20
    assert value(registry, "job_examples_total", **mine) == 15
    assert value(registry, "job_gradient_norm", **mine) == 2.0
    short = {**mine, "shortcut": "averaged_error"}
    assert value(registry, "job_shortcut_relative_error", **short) == 0.25
    assert value(registry, "job_layer_shortcut_relative_error", **short, layer="0") == 0.25
    # undefined figures have no series
    assert value(registry, "job_shortcut_norm_ratio", **short) is None
    assert value(registry, "job_gradient_noise_scale", **mine) is None
    metrics.forget(job.id)
    metrics.observe(job.id, REPORTED)  # a late report does not bring it back
    assert value(registry, "job_step", **mine) is None
    assert value(registry, "workers", state="running") == 0


def test_numbers_counted_at_once_are_counted_like_one_by_one() -> None:
    bounds = (0.25, 0.5, 2.0)
    random = np.random.default_rng(0)
    numbers = [0.25, 0.5, 2.0, 3.0, *random.exponential(1, 100).round(2).tolist()]
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    bulk = BulkHistogram("seconds", "Seconds", "phase", ["compute", "idle"], bounds)
    ours.register(bulk)
    single = Histogram("seconds", "Seconds", ["phase"], buckets=bounds, registry=theirs)
    single.labels("idle")
    for phase, part in (("compute", numbers[:40]), ("late", []), ("compute", numbers[40:])):
        bulk.observe(phase, part)
        single.labels(phase)
        for each in part:
            single.labels(phase).observe(each)
    for value in ("compute", "idle", "late"):
        for sample in ("count", "sum", *(f"bucket {bound}" for bound in (*bounds, "+Inf"))):
            name, _, le = sample.partition(" ")
            labels = {"phase": value} | ({"le": le} if le else {})
            found = ours.get_sample_value(f"seconds_{name}", labels)
            assert found == pytest.approx(theirs.get_sample_value(f"seconds_{name}", labels))


def test_counts_of_engines_add_up(registry: CollectorRegistry, metrics: Metrics) -> None:
    for _ in range(2):
        metrics.observe(
            "any",
            observed(
                norm_buckets=BUCKETS,
                norm_sum=5.5,
                other_phases={"checkpoint": [0.001, 0.2]},
                nonfinite_examples=3,
                bytes_in={"ray": 10},
                bytes_out={"ray": 20, "shared_memory": 5},
            ),
        )
        for reason, count in (("worker died", 1), ("silent", 2), ("stuck", 3)):
            metrics.count_event(
                EngineEvent(event="retry", data={"reason": reason, "microbatches": count})
            )
        for reason in ("died", "start_failed", "dismissed"):  # the others are not missed
            metrics.count_event(EngineEvent(event="worker_lost", data={"reason": reason}))
    metrics.observe("any", REPORTED)
    assert value(registry, "example_gradient_norm_bucket", le="0.0005") == 0
    assert value(registry, "example_gradient_norm_bucket", le="0.001") == 4
    assert value(registry, "example_gradient_norm_bucket", le="+Inf") == 6
    assert value(registry, "example_gradient_norm_sum") == 11.0
    assert value(registry, "step_phase_duration_seconds_count", phase="checkpoint") == 4
    assert value(registry, "step_phase_duration_seconds_count", phase="compute") == 3
    assert value(registry, "microbatch_retries_total", reason="silent") == 4
    assert value(registry, "microbatch_retries_total", reason="stuck") == 6
    assert value(registry, "microbatch_retries_total", reason="other") == 2
    assert value(registry, "workers_lost_total") == 2
    assert value(registry, "nonfinite_examples_total") == 6
    assert value(registry, "bytes_transferred_total", direction="in", transport="ray") == 20
    assert value(registry, "bytes_transferred_total", direction="out", transport="ray") == 40
    shared = {"direction": "out", "transport": "shared_memory"}
    assert value(registry, "bytes_transferred_total", **shared) == 10
    with pytest.raises(ValueError, match="got 1 norm buckets, expected 25"):
        metrics.observe("any", observed(norm_buckets=[1]))


def test_the_supervisors_events_are_counted(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.finished("failed", "nonfinite")
    metrics.finished("failed", "Something long, with a comma")
    metrics.queue_wait(3.0)
    metrics.finished("cancelled", "engine_died")  # what went before a cancel says nothing of it
    metrics.checkpointed("any")
    assert value(registry, "jobs_finished_total", outcome="failed", reason="nonfinite") == 1
    assert value(registry, "jobs_finished_total", outcome="failed", reason="other") == 1
    assert value(registry, "job_queue_wait_seconds_sum") == 3.0
    assert value(registry, "jobs_finished_total", outcome="cancelled", reason="") == 1
    assert value(registry, "checkpoint_last_success_timestamp_seconds") == 99.0


def test_jobs_and_layers_are_bounded(
    registry: CollectorRegistry, metrics: Metrics, store: Store
) -> None:
    job = create(store)
    layer = row(1).shortcuts["averaged_error"].layers
    assert layer is not None
    many = [layer[0].model_copy(update={"name": str(n)}) for n in range(MAX_LAYERS + 8)]
    shortcut = row(1).shortcuts["averaged_error"].model_copy(update={"layers": many})
    wide: StepRow = row(1).model_copy(update={"shortcuts": {"averaged_error": shortcut}})
    for n in range(MAX_JOBS + 3):
        job_id = f"job_{n}"
        metrics.begin(job.model_copy(update={"id": job_id, "spec": spec()}))
        metrics.observe(job_id, report(wide))
    samples = [sample for family in registry.collect() for sample in family.samples]
    assert sum(sample.name == "batchgrad_job_step" for sample in samples) == MAX_JOBS
    layers = [s for s in samples if s.name == "batchgrad_job_layer_shortcut_relative_error"]
    assert len(layers) == MAX_JOBS * MAX_LAYERS


def test_a_continued_job_begins_at_its_checkpoints_step(
    registry: CollectorRegistry, metrics: Metrics, store: Store
) -> None:
    job = create(store)
    metrics.begin(job)
    metrics.observe(job.id, observed(examples=10))
    metrics.forget(job.id)  # paused, or its engine died
    metrics.begin(job.model_copy(update={"step": 5}))
    mine = {"job_id": job.id}
    assert value(registry, "job_step", **mine) == 5
    assert value(registry, "job_examples_total", **mine) == 0
    assert value(registry, "job_loss", **mine, split="train") is None
    metrics.observe(job.id, observed(examples=4))
    assert value(registry, "job_step", **mine) == 7
    assert value(registry, "job_examples_total", **mine) == 4


def test_a_free_place_goes_to_the_next_job(
    registry: CollectorRegistry, metrics: Metrics, store: Store
) -> None:
    job = create(store)
    for n in range(MAX_JOBS + 1):
        metrics.begin(job.model_copy(update={"id": f"job_{n}"}))
        metrics.observe(f"job_{n}", observed(examples=5))
    late = {"job_id": f"job_{MAX_JOBS}"}
    assert value(registry, "job_examples_total", **late) is None
    assert value(registry, "workers", state="running") == 2 * (MAX_JOBS + 1)
    metrics.forget("job_3")
    assert value(registry, "job_examples_total", **late) == 5


def test_a_full_batch_is_as_large_as_its_steps(
    registry: CollectorRegistry, metrics: Metrics, store: Store
) -> None:
    job = create(store, batch_size="full")
    metrics.begin(job)
    assert value(registry, "job_batch_size", job_id=job.id) is None
    two = report(row(1), row(2)).model_copy(update={"observed": Observed(examples=14)})
    metrics.observe(job.id, two)
    assert value(registry, "job_batch_size", job_id=job.id) == 7


def test_times_of_checkpoints_are_known_after_a_restart_of_the_service(
    registry: CollectorRegistry, store: Store
) -> None:
    times = iter([10.0, 20.0, 30.0, 30.0])
    metrics = Metrics(
        registry,
        version="1",
        count_jobs=store.count_by_status,
        last_checkpoint=5.0,
        clock=lambda: next(times),
    )
    name = "checkpoint_last_success_timestamp_seconds"
    assert value(registry, name) == 5.0
    for job_id in ("a", "b"):
        metrics.begin(create(store).model_copy(update={"id": job_id}))
    metrics.checkpointed("b")
    assert value(registry, name) == 30.0
    assert value(registry, f"job_{name}", job_id="a") == 10.0
    assert value(registry, f"job_{name}", job_id="b") == 30.0


def test_the_store_knows_the_last_checkpoint(store: Store) -> None:
    assert store.last_checkpoint_time() == 0.0
    job_id, attempt = started(store)
    store.record_checkpoint(job_id, attempt, checkpointed(3))
    assert store.last_checkpoint_time() == NOW.timestamp()


def test_nodes_are_counted_once_for_all_jobs(
    registry: CollectorRegistry, metrics: Metrics, store: Store
) -> None:
    for job_id, busy in (("a", ["1", "2"]), ("b", ["2"])):
        metrics.begin(create(store).model_copy(update={"id": job_id}))
        cluster = ClusterSeen(nodes=["1", "2", "3"], busy=busy, starting=2)
        metrics.observe(job_id, REPORTED.model_copy(update={"cluster": cluster}))
    assert value(registry, "cluster_nodes", state="busy") == 2
    assert value(registry, "cluster_nodes", state="idle") == 1
    assert value(registry, "workers", state="starting") == 4


def test_every_failure_is_a_known_reason() -> None:
    known = vars(failures).values()
    words = {each.reason for each in known if hasattr(each, "reason")}
    assert "nonfinite" in words
    assert words <= set(FAILURES)


def test_requests_are_timed_by_route_template(bench: Bench) -> None:
    for path in ("/v1/jobs/a", "/v1/jobs/b", "/nothing/at/all"):
        bench.http.get(path)
    bench.http.request("INVENTED", "/v1/jobs/c")
    bench.http.request("INVENTED", "/nothing")
    answer = bench.http.get("/metrics", headers={"Accept": "text/plain"})
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    name = "batchgrad_http_request_duration_seconds"
    counted = {
        (sample.labels["method"], sample.labels["route"]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == f"{name}_count"
    }
    assert counted == {
        ("GET", "/v1/jobs/{job_id}"): 2,
        ("GET", "unmatched"): 1,
        ("other", "/v1/jobs/{job_id}"): 1,
        ("other", "unmatched"): 1,
    }


@pytest.mark.parametrize("escaping", ["", "; escaping=allow-utf-8"])
def test_openmetrics_if_asked(bench: Bench, escaping: str) -> None:
    job = create(bench.store)
    bench.metrics.begin(job)
    bench.metrics.observe(job.id, observed(norm_buckets=BUCKETS))
    accept = f"application/openmetrics-text;version=1.0.0{escaping},text/plain;q=0.5"
    answer = bench.http.get("/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    parsed = openmetrics_families(answer.text)  # type: ignore[no-untyped-call]
    families = {family.name: family for family in parsed}
    assert families["batchgrad_job_step"].samples[0].value == 7
    samples = [sample for family in families.values() for sample in family.samples]
    assert not [sample for sample in samples if sample.exemplar]
    assert not [sample for sample in samples if sample.name.endswith("_created")]


def test_requests_with_other_methods_routes_or_statuses_are_counted_apart(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    seen = [("GET", "/a", 200), ("GET", "/a", 404), ("GET", "/b", 200), ("HEAD", "/a", 200)]
    for times, (method, route, status) in enumerate(seen, 1):
        for _ in range(times):
            metrics.http_request(method, route, status, 0.5)
    for times, (method, route, status) in enumerate(seen, 1):
        labels = {"method": method, "route": route, "status": str(status)}
        name = "batchgrad_http_request_duration_seconds"
        assert registry.get_sample_value(f"{name}_count", labels) == times
        assert registry.get_sample_value(f"{name}_sum", labels) == times / 2
