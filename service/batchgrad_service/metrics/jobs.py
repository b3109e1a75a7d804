"""Series of running jobs, computed at each scrape."""

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from batchgrad.contract import FIGURES, VALIDATION_FIGURES, DatasetPrivacy, Job, JobStatus
from batchgrad_engine.messages import ClusterSeen, Report
from batchgrad_service.metrics.job import LiveJob, NormCounts

MAX_JOBS = 50
MAX_LAYERS = 32
_OF_SHORTCUTS = {
    "relative_error": "Distance of the shortcut's gradient from the mean gradient, divided by the "
    "mean gradient's norm: 0 is equal",
    "cosine_similarity": "Cosine of the angle between the shortcut's gradient and the mean "
    "gradient, -1 to 1",
    "norm_ratio": "Norm of the shortcut's gradient, as a multiple of the mean gradient's norm",
}


class LiveJobs(Collector):
    """Jobs by state, and the figures of at most MAX_JOBS running jobs."""

    def __init__(
        self,
        count_jobs: Callable[[], dict[JobStatus, int]],
        datasets_privacy: Callable[[], dict[str, DatasetPrivacy]],
        clock: Callable[[], float],
    ) -> None:
        self._count_jobs = count_jobs
        self._datasets_privacy = datasets_privacy
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[str, LiveJob] = {}  # all running jobs; the first MAX_JOBS have series
        self._norms = NormCounts()

    def begin(self, job: Job) -> None:
        """Add a job that begins to run; a known job keeps its figures."""
        with self._lock:
            known = self._jobs.setdefault(job.id, LiveJob(job, self._clock()))
            known.steps_planned = job.steps_planned

    def observe(self, job_id: str, report: Report) -> None:
        """Update a job's figures. Its norms are counted even if the job has just ended."""
        with self._lock:
            self._norms.add(report.observed.norm_buckets, report.observed.norm_sum)
            if job_id in self._jobs:
                self._jobs[job_id].observe(report)

    def checkpointed(self, job_id: str) -> None:
        """Note that a checkpoint of the job was completed just now."""
        with self._lock:
            if job_id in self._jobs:
                self._jobs[job_id].checkpointed_at = self._clock()

    def forget(self, job_id: str) -> None:
        """Remove the job's series."""
        with self._lock:
            self._jobs.pop(job_id, None)

    def describe(self) -> list[Metric]:
        """Return nothing, so that registering does not read the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of one scrape."""
        states = GaugeMetricFamily("batchgrad_jobs", "Jobs by state", labels=["state"])
        for status, count in self._count_jobs().items():
            states.add_metric([status], count)
        norms = HistogramMetricFamily(
            "batchgrad_example_gradient_norm", "Norms of single examples' gradients, all jobs"
        )
        with self._lock:  # released before the metrics are written out
            jobs = dict(islice(self._jobs.items(), MAX_JOBS))
            norms.add_metric([], self._norms.buckets(), self._norms.sum)
            families = [
                *_cluster(self._jobs.values()),
                *_progress(jobs),
                *_figures(jobs),
                *_shortcuts(jobs),
                *_work(jobs),
                *_privacy(jobs),
            ]
        yield from (states, norms, *families, *_dataset_privacy(self._datasets_privacy()))


def _cluster(jobs: Iterable[LiveJob]) -> Iterator[Metric]:
    """Yield workers and nodes of all running jobs, also those without series; each node once."""
    jobs = list(jobs)
    workers = GaugeMetricFamily(
        "batchgrad_workers",
        "Ray workers of running jobs: running, or starting and waited for",
        labels=["state"],
    )
    workers.add_metric(["running"], sum(job.workers for job in jobs))
    workers.add_metric(["starting"], sum(job.cluster.starting for job in jobs))
    yield workers
    seen: list[ClusterSeen] = [job.cluster for job in jobs]
    busy = {node for cluster in seen for node in cluster.busy}
    alive = busy.union(*(cluster.nodes for cluster in seen))
    nodes = GaugeMetricFamily(
        "batchgrad_cluster_nodes",
        "Ray nodes that running jobs see: busy with a job's worker, or idle",
        labels=["state"],
    )
    nodes.add_metric(["busy"], len(busy))
    nodes.add_metric(["idle"], len(alive) - len(busy))
    yield nodes


def _progress(jobs: dict[str, LiveJob]) -> Iterator[Metric]:
    info = _gauge("info", "1, labelled by what the job is", "name", "dataset")
    step = _gauge("step", "Steps done")
    planned = _gauge("steps_planned", "Steps that the job will do in all")
    batch = _gauge("batch_size", "Examples in a minibatch")
    for job_id, job in jobs.items():
        info.add_metric([job_id, job.name, job.dataset], 1)
        step.add_metric([job_id], job.step)
        planned.add_metric([job_id], job.steps_planned)
        _add(batch, [job_id], job.batch_size)
    yield from (info, step, planned, batch)


def _figures(jobs: dict[str, LiveJob]) -> Iterator[Metric]:
    """Yield the figures of each job's newest step, and of its newest evaluation."""
    gauges = {
        figure.metric: _gauge(figure.metric, figure.help, *figure.labels)
        for figure in FIGURES.values()
    }
    gauges |= {
        figure.metric: _gauge(figure.metric, figure.help, "split")
        for figure in VALIDATION_FIGURES.values()
        if figure.metric not in gauges
    }
    for job_id, job in jobs.items():
        for name, value in job.figures.items():
            figure = FIGURES[name]
            _add(gauges[figure.metric], [job_id, *figure.labels.values()], value)
        for metric, evaluated in VALIDATION_FIGURES.items() if job.evaluation else ():
            value = getattr(job.evaluation, metric)
            _add(gauges[evaluated.metric], [job_id, "validation"], value)
    yield from gauges.values()


def _shortcuts(jobs: dict[str, LiveJob]) -> Iterator[Metric]:
    gauges = {
        figure: _gauge(f"shortcut_{figure}", text, "shortcut")
        for figure, text in _OF_SHORTCUTS.items()
    }
    layers = _gauge(
        "layer_shortcut_relative_error",
        f"One layer's relative error; a job's first {MAX_LAYERS} layers with parameters",
        "shortcut",
        "layer",
    )
    for job_id, job in jobs.items():
        for name, shortcut in job.shortcuts.items():
            for figure, gauge in gauges.items():
                _add(gauge, [job_id, name], getattr(shortcut, figure))
            for layer in (shortcut.layers or [])[:MAX_LAYERS]:
                _add(layers, [job_id, name, layer.name], layer.relative_error)
    yield from (*gauges.values(), layers)


def _work(jobs: dict[str, LiveJob]) -> Iterator[Metric]:
    examples = CounterMetricFamily(
        "batchgrad_job_examples", "Examples computed since the job began to run", labels=["job_id"]
    )
    phases = CounterMetricFamily(
        "batchgrad_job_phase_seconds",
        "Seconds that the job's steps spent in each phase since it began to run",
        labels=["job_id", "phase"],
    )
    norms = HistogramMetricFamily(
        "batchgrad_job_example_gradient_norm",
        "Norms of single examples' gradients since the job began to run",
        labels=["job_id"],
    )
    saved = _gauge(
        "checkpoint_last_success_timestamp_seconds",
        "Unix time of the job's newest checkpoint; before its first, when it began to run",
    )
    interval = _gauge("checkpoint_interval_seconds", "Seconds between checkpoints, from the spec")
    for job_id, job in jobs.items():
        if job.privacy is None:  # else they tell of the sample
            examples.add_metric([job_id], job.examples)
            for phase, seconds in job.phase_seconds.items():
                phases.add_metric([job_id, phase], seconds)
            norms.add_metric([job_id], job.norms.buckets(), job.norms.sum)
        saved.add_metric([job_id], job.checkpointed_at)
        interval.add_metric([job_id], job.checkpoint_interval)
    yield from (examples, phases, norms, saved, interval)


def _privacy(jobs: dict[str, LiveJob]) -> Iterator[Metric]:
    epsilon = _gauge("privacy_epsilon", "ε that the private job's steps have spent, at its δ")
    budget = _gauge("privacy_budget", "ε that the private job may spend, of its spec or its plan")
    delta = _gauge("privacy_delta", "δ of the private job")
    multiplier = _gauge("privacy_noise_multiplier", "σ, in units of the clip norm")
    clip = _gauge("privacy_clip_norm", "C of the spec; with clipping: quantile, of the first step")
    for job_id, job in jobs.items():
        if job.privacy is not None:
            _add(epsilon, [job_id], job.epsilon_spent)
            _add(budget, [job_id], job.privacy_budget)
            delta.add_metric([job_id], job.privacy.delta)
            multiplier.add_metric([job_id], job.privacy.noise_multiplier)
            _add(clip, [job_id], job.clip_norm)
    yield from (epsilon, budget, delta, multiplier, clip)


def _dataset_privacy(datasets: dict[str, DatasetPrivacy]) -> Iterator[Metric]:
    epsilon = GaugeMetricFamily(
        "batchgrad_dataset_privacy_epsilon",
        "ε that private jobs have spent or reserved on the dataset's content",
        labels=["dataset"],
    )
    budget = GaugeMetricFamily(
        "batchgrad_dataset_privacy_budget",
        "The most ε that private jobs may spend on the dataset's content, where one is set",
        labels=["dataset"],
    )
    for name, privacy in datasets.items():
        epsilon.add_metric([name], privacy.epsilon)
        _add(budget, [name], privacy.budget)
    yield from (epsilon, budget)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"batchgrad_job_{name}", text, labels=["job_id", *labels])


def _add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    if value is not None:  # an undefined figure has no series
        family.add_metric(labels, value)
