"""The metrics that Prometheus reads at /metrics.

A job's series have the label `job_id` and exist while the job runs; its history is in the API.
The supervisor calls the methods of `Metrics`, which are fast and thread-safe.
"""

import platform
import time
from collections.abc import Callable, Collection

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics import exposition as openmetrics

from batchgrad.contract import DatasetPrivacy, Job, JobStatus
from batchgrad_engine.messages import RETRY_REASONS, EngineEvent, Report
from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.metrics.histogram import BulkHistogram
from batchgrad_service.metrics.job import PHASES
from batchgrad_service.metrics.jobs import LiveJobs

FAILURES = (
    "nonfinite",
    "bad_inputs",
    "bad_initial_parameters",
    "code_not_allowed",
    "no_workers",
    "workers_lost",
    "out_of_memory",
    "engine_error",
    "engine_died",
    "cluster_lost",
    "cluster_unavailable",
    "internal_error",
    "budget_spent",
    "charges_lost",
    "key_gone",
    "other",
)
TRANSPORTS = ("ray", "shared_memory")
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"})
_SECONDS = (1e-4, 2.5e-4, 1e-3, 2.5e-3, 1e-2, 2.5e-2, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0)
_WAITS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)


class Metrics:
    """The service's metrics. `count_jobs` is called at every scrape.

    `last_checkpoint` is the time of the newest checkpoint that an earlier service stored (Unix
    seconds, 0 for never); `datasets_privacy` is what private jobs have spent, by the names of
    datasets, called at every scrape; `jobs_limit` is how many jobs may run at once; `disk` knows
    the free space of the service's disks.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        version: str,
        count_jobs: Callable[[], dict[JobStatus, int]],
        datasets_privacy: Callable[[], dict[str, DatasetPrivacy]] = dict,
        jobs_limit: int = 1,
        last_checkpoint: float = 0.0,
        disk: DiskSpace | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # It would add a second, useless series to each counter and histogram.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._clock = clock
        self._live = LiveJobs(count_jobs, datasets_privacy, clock)
        registry.register(self._live)
        ProcessCollector(registry=registry)
        Gauge(
            "batchgrad_build_info",
            "1, labelled by what runs",
            ["version", "python"],
            registry=registry,
        ).labels(version, platform.python_version()).set(1)
        Gauge(
            "batchgrad_jobs_limit",
            "Jobs that may run at once (max_running_jobs)",
            registry=registry,
        ).set(jobs_limit)
        if disk is not None:
            Gauge(
                "batchgrad_disk_free_bytes",
                "Bytes that the service may still write to its disk; 0 without inodes",
                registry=registry,
            ).set_function(disk.free_bytes)
            Gauge(
                "batchgrad_disk_min_free_bytes",
                "Bytes of free disk below which jobs wait for space (min_free_disk_bytes)",
                registry=registry,
            ).set(disk.min_free_bytes)
        self._finished = Counter(
            "batchgrad_jobs_finished",
            "Jobs that ended, since the service started",
            ["outcome", "reason"],
            registry=registry,
        )
        self._queue_wait = Histogram(
            "batchgrad_job_queue_wait_seconds",
            "Seconds from a job's submission to its first start",
            buckets=_WAITS,
            registry=registry,
        )
        self._http = Histogram(
            "batchgrad_http_request_duration_seconds",
            "Seconds until a request was answered, by route template; of an event stream, until "
            "it began",
            ["method", "route", "status"],
            registry=registry,
        )
        self._routes: dict[tuple[str, str, int], Histogram] = {}
        self._phases = BulkHistogram(
            "batchgrad_step_phase_duration_seconds",
            "Seconds of each phase of each step, all jobs",
            "phase",
            PHASES,
            _SECONDS,
        )
        registry.register(self._phases)
        self._retries = Counter(
            "batchgrad_microbatch_retries",
            "Microbatches computed again, by reason",
            ["reason"],
            registry=registry,
        )
        self._lost = Counter(
            "batchgrad_workers_lost", "Ray workers that ended unexpectedly", registry=registry
        )
        self._nonfinite = Counter(
            "batchgrad_nonfinite_examples",
            "Examples left out because their loss or gradient was not finite",
            registry=registry,
        )
        self._checkpoint = Gauge(
            "batchgrad_checkpoint_last_success_timestamp_seconds",
            "Unix time at which a job's checkpoint was last completed; 0 when never",
            registry=registry,
        )
        self._checkpoint.set(last_checkpoint)
        self._bytes = Counter(
            "batchgrad_bytes_transferred",
            "Bytes between engines and their workers: parameters out, sums in",
            ["direction", "transport"],
            registry=registry,
        )
        for outcome, reasons in (("succeeded", [""]), ("cancelled", [""]), ("failed", FAILURES)):
            for reason in reasons:
                self._finished.labels(outcome, reason)
        for why in RETRY_REASONS:
            self._retries.labels(why)
        for transport in TRANSPORTS:
            for direction in ("in", "out"):
                self._bytes.labels(direction, transport)

    def begin(self, job: Job) -> None:
        """Add the series of a job that starts to run."""
        self._live.begin(job)

    def observe(self, job_id: str, report: Report) -> None:
        """Count what a report of the job's engine says."""
        self._live.observe(job_id, report)
        seen = report.observed
        for phase, durations in report.phase_seconds():
            self._phases.observe(_known(phase, PHASES), durations)
        self._nonfinite.inc(seen.nonfinite_examples)
        for direction, transferred in (("in", seen.bytes_in), ("out", seen.bytes_out)):
            for transport, size_bytes in transferred.items():
                self._bytes.labels(direction, _known(transport, TRANSPORTS)).inc(size_bytes)

    def count_event(self, event: EngineEvent) -> None:
        """Count an event of an engine; most kinds of events are not counted."""
        data = event.data
        if event.event == "retry":
            self._retries.labels(_known(data["reason"], RETRY_REASONS)).inc(data["microbatches"])
        # A worker that never started, or that was dismissed, is not lost.
        if event.event == "worker_lost" and data["reason"] not in ("start_failed", "dismissed"):
            self._lost.inc()

    def checkpointed(self, job_id: str) -> None:
        """Note that a checkpoint of the job was completed just now."""
        self._live.checkpointed(job_id)
        self._checkpoint.set(self._clock())

    def forget(self, job_id: str) -> None:
        """Remove the series of a job that no longer runs."""
        self._live.forget(job_id)

    def finished(self, outcome: str, reason: str | None) -> None:
        """Count a job's end: `outcome` succeeded, failed or cancelled; `reason` of a failure."""
        failure = _known(reason or "", FAILURES) if outcome == "failed" else ""
        self._finished.labels(outcome, failure).inc()

    def queue_wait(self, seconds: float) -> None:
        """Count the seconds that a job waited before its first start."""
        self._queue_wait.observe(seconds)

    def http_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is a template such as /v1/jobs/{job_id}."""
        known = method if method in METHODS else "other"  # a client may invent methods
        labels = (known, route, status)
        series = self._routes.get(labels)
        if series is None:
            series = self._routes[labels] = self._http.labels(known, route, str(status))
        series.observe(seconds)


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return one scrape in the format that the Accept header requests, and its media type."""
    encode, media_type = choose_encoder(accept)
    if media_type.startswith("application/openmetrics-text"):
        # None of our names needs escaping; checking every letter took half of the time.
        text: bytes = openmetrics.generate_latest(  # type: ignore[no-untyped-call]
            registry, escaping=openmetrics.ALLOWUTF8
        )
        return text, media_type
    return encode(registry), media_type


def _known(word: str, words: Collection[str]) -> str:
    """Return `word` if it is one of `words`, else "other": the number of series stays bounded."""
    return word if word in words else "other"
