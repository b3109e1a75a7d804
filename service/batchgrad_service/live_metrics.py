"""Series that come and go: of running jobs, and the histogram that engines count themselves."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from batchgrad.contract import EXAMPLE_NORM_BOUNDS, Job, JobStatus, LayeredShortcut
from batchgrad_service.engine.messages import Report

MAX_JOBS = 50
MAX_LAYERS = 32
_FIGURES = ("relative_error", "cosine_similarity", "norm_ratio")


@dataclass
class _LiveJob:
    """One running job's newest figures."""

    name: str
    dataset: str
    steps_planned: int
    step: int
    workers: int = 0
    examples: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    gradient_norm: float | None = None
    noise_scale: float | None = None
    shortcuts: dict[str, LayeredShortcut] = field(default_factory=dict)


class LiveJobs(Collector):
    """Jobs by state, and at most MAX_JOBS running jobs by their figures."""

    def __init__(self, count_jobs: Callable[[], dict[JobStatus, int]]) -> None:
        self._count_jobs = count_jobs
        self._lock = threading.Lock()
        self._jobs: dict[str, _LiveJob] = {}

    def begin(self, job: Job) -> None:
        """Show the job, unless MAX_JOBS are shown already; a job that is shown stays."""
        with self._lock:
            known = self._jobs.get(job.id)
            if known is not None:
                known.steps_planned = job.steps_planned
            elif len(self._jobs) < MAX_JOBS:
                self._jobs[job.id] = _LiveJob(
                    job.name, job.spec.dataset, job.steps_planned, job.step
                )

    def observe(self, job_id: str, report: Report) -> None:
        """Newest figures of a job that is shown."""
        with self._lock:
            live = self._jobs.get(job_id)
            if live is None:
                return
            live.workers = report.workers if report.executor == "ray" else 0
            live.examples += report.observed.examples
            if report.evaluations:
                live.losses["validation"] = report.evaluations[-1].validation_loss
            if report.rows:
                last = report.rows[-1]
                live.step = last.step
                if last.loss is None:
                    live.losses.pop("train", None)
                else:
                    live.losses["train"] = last.loss
                live.gradient_norm = last.gradient_norm
                live.noise_scale = last.noise_scale
                live.shortcuts = last.shortcuts

    def forget(self, job_id: str) -> None:
        """Show the job no longer."""
        with self._lock:
            self._jobs.pop(job_id, None)

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        states = GaugeMetricFamily("batchgrad_jobs", "Jobs by state", labels=["state"])
        for status, count in self._count_jobs().items():
            states.add_metric([status], count)
        yield states
        with self._lock:
            yield from self._collect_jobs()

    def _collect_jobs(self) -> list[Metric]:
        live = self._jobs.items()
        workers = GaugeMetricFamily(
            "batchgrad_workers", "Ray workers of running jobs", labels=["state"]
        )
        workers.add_metric(["running"], sum(job.workers for _, job in live))
        info = _gauge("info", "1, labelled by what the job is", "name", "dataset")
        loss = _gauge("loss", "Newest loss", "split")
        step = _gauge("step", "Newest step")
        planned = _gauge("steps_planned", "Steps until the job is done")
        examples = CounterMetricFamily(
            "batchgrad_job_examples", "Examples computed", labels=["job_id"]
        )
        norm = _gauge("gradient_norm", "Norm of the mean gradient")
        noise = _gauge("gradient_noise_scale", "Simple noise scale; no series if undetermined")
        figures = {
            figure: _gauge(f"shortcut_{figure}", f"The shortcut's {figure}", "shortcut")
            for figure in _FIGURES
        }
        layers = _gauge("layer_shortcut_relative_error", "One layer's share", "shortcut", "layer")
        for job_id, job in live:
            info.add_metric([job_id, job.name, job.dataset], 1)
            step.add_metric([job_id], job.step)
            planned.add_metric([job_id], job.steps_planned)
            examples.add_metric([job_id], job.examples)
            for split, value in job.losses.items():
                loss.add_metric([job_id, split], value)
            _add(norm, [job_id], job.gradient_norm)
            _add(noise, [job_id], job.noise_scale)
            for name, shortcut in job.shortcuts.items():
                for figure, family in figures.items():
                    _add(family, [job_id, name], getattr(shortcut, figure))
                for layer in (shortcut.layers or [])[:MAX_LAYERS]:
                    _add(layers, [job_id, name, layer.name], layer.relative_error)
        return [
            workers,
            info,
            loss,
            step,
            planned,
            examples,
            norm,
            noise,
            *figures.values(),
            layers,
        ]


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"batchgrad_job_{name}", text, labels=["job_id", *labels])


def _add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    if value is not None:  # an undefined figure has no series
        family.add_metric(labels, value)


class NormHistogram(Collector):
    """Per-example gradient norms; engines count into EXAMPLE_NORM_BOUNDS themselves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(EXAMPLE_NORM_BOUNDS) + 1)
        self._sum = 0.0

    def add(self, counts: list[int], norm_sum: float) -> None:
        """Add counts, one for each bound and one above them; none at all when there is no news.

        Raises:
            ValueError: there are other numbers of counts than of buckets.
        """
        if not counts:
            return
        if len(counts) != len(self._counts):
            raise ValueError(f"got {len(counts)} norm buckets, expected {len(self._counts)}.")
        with self._lock:
            self._counts = [a + b for a, b in zip(self._counts, counts, strict=True)]
            self._sum += norm_sum

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        bounds = [*(f"{bound:g}" for bound in EXAMPLE_NORM_BOUNDS), "+Inf"]
        with self._lock:
            cumulative = [float(count) for count in accumulate(self._counts)]
            total = self._sum
        yield HistogramMetricFamily(
            "batchgrad_example_gradient_norm",
            "Norms of per-example gradients",
            buckets=list(zip(bounds, cumulative, strict=True)),
            sum_value=total,
        )
