"""What Prometheus reads at /metrics.

Jobs are labelled `job_id`. Series of a job exist while it runs; its history is in the API.
The supervisor calls the methods of `Metrics`; they are quick and safe between threads.
"""

import platform
import re
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from batchgrad.contract import Job, JobStatus
from batchgrad_service.engine.messages import RETRY_REASONS, Report
from batchgrad_service.live_metrics import LiveJobs, NormHistogram

PHASES = ("shard", "compute", "reduce", "update", "compare", "checkpoint")
ENDS = (("succeeded", ""), ("cancelled", ""), ("failed", "nonfinite"), ("failed", "engine_died"))
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"})
_SECONDS = (1e-4, 2.5e-4, 1e-3, 2.5e-3, 1e-2, 2.5e-2, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0)
_WAITS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")


def _word(text: str | None) -> str:
    """`text` as a label's value: one of few short words, so that series stay few."""
    if not text:
        return ""
    return text if _WORD.fullmatch(text) else "other"


class Metrics:
    """The catalogue. `count_jobs` is asked at every scrape; `registry` is fresh in each test."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        version: str,
        count_jobs: Callable[[], dict[JobStatus, int]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._live = LiveJobs(count_jobs)
        self._norms = NormHistogram()
        registry.register(self._live)
        registry.register(self._norms)
        Gauge(
            "batchgrad_build_info",
            "1, labelled by what runs",
            ["version", "python"],
            registry=registry,
        ).labels(version, platform.python_version()).set(1)
        self._finished = Counter(
            "batchgrad_jobs_finished", "Jobs that ended", ["outcome", "reason"], registry=registry
        )
        self._queue_wait = Histogram(
            "batchgrad_job_queue_wait_seconds",
            "From queued to starting",
            buckets=_WAITS,
            registry=registry,
        )
        self._http = Histogram(
            "batchgrad_http_request_duration_seconds",
            "Requests by route template",
            ["method", "route", "status"],
            registry=registry,
        )
        self._phases = Histogram(
            "batchgrad_step_phase_duration_seconds",
            "Each step's phases",
            ["phase"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._retries = Counter(
            "batchgrad_microbatch_retries",
            "Microbatches computed again, by why",
            ["reason"],
            registry=registry,
        )
        self._lost = Counter("batchgrad_workers_lost", "Workers that went", registry=registry)
        self._nonfinite = Counter(
            "batchgrad_nonfinite_examples",
            "Examples with a non-finite loss or gradient",
            registry=registry,
        )
        self._checkpoint = Gauge(
            "batchgrad_checkpoint_last_success_timestamp_seconds",
            "When a checkpoint was last completed; 0 when never",
            registry=registry,
        )
        self._bytes = Counter(
            "batchgrad_bytes_transferred",
            "Between engines and workers",
            ["direction", "transport"],
            registry=registry,
        )
        for outcome, reason in ENDS:
            self._finished.labels(outcome, reason)
        for why in RETRY_REASONS:
            self._retries.labels(why)
        for phase in PHASES:
            self._phases.labels(phase)
        for direction in ("in", "out"):
            self._bytes.labels(direction, "ray")

    def begin(self, job: Job) -> None:
        """A job is starting to run: its series appear."""
        self._live.begin(job)

    def observe(self, job_id: str, report: Report) -> None:
        """A report has come from the job's engine."""
        self._live.observe(job_id, report)
        seen = report.observed
        self._norms.add(seen.norm_buckets, seen.norm_sum)
        for phase, durations in seen.phase_seconds.items():
            histogram = self._phases.labels(_word(phase))
            for seconds in durations:
                histogram.observe(seconds)
        for reason, count in seen.retries.items():
            self._retries.labels(_word(reason)).inc(count)
        self._lost.inc(seen.workers_lost)
        self._nonfinite.inc(seen.nonfinite_examples)
        if seen.transport != "none":
            self._bytes.labels("in", _word(seen.transport)).inc(seen.bytes_in)
            self._bytes.labels("out", _word(seen.transport)).inc(seen.bytes_out)

    def checkpointed(self) -> None:
        """A checkpoint was completed just now."""
        self._checkpoint.set(self._clock())

    def forget(self, job_id: str) -> None:
        """The job no longer runs: its series end."""
        self._live.forget(job_id)

    def finished(self, outcome: str, reason: str | None) -> None:
        """A job ended: `outcome` succeeded, failed or cancelled; `reason` is a failure's kind."""
        self._finished.labels(_word(outcome), _word(reason)).inc()

    def queue_wait(self, seconds: float) -> None:
        """A job waited this long before it was started."""
        self._queue_wait.observe(seconds)

    def workers_lost(self, count: int = 1) -> None:
        """Workers went with their engine, so that no report can tell."""
        self._lost.inc(count)

    def http_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; `route` is a template such as /v1/jobs/{job_id}."""
        known = method if method in METHODS else "other"  # anybody may invent one
        self._http.labels(known, route, str(status)).observe(seconds)
