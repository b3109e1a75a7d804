"""Metrics registries of a busy service, with every figure defined, and of a quiet one."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import CollectorRegistry

from batchgrad.contract import (
    EXAMPLE_NORM_BOUNDS,
    FIGURES,
    JOB_STATUSES,
    VALIDATION_FIGURES,
    DatasetPrivacy,
    JobPrivacy,
    LayeredShortcut,
    ShortcutLayer,
)
from batchgrad_engine.messages import ClusterSeen, Evaluated, Observed, Report
from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.metrics.job import PHASES
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.store import Store
from tests.service.building import create, report, row
from tests.service.private_jobs import planned

LAYERS = 8
SHORTCUT = LayeredShortcut(
    relative_error=0.123456789,
    cosine_similarity=0.9876543,
    norm_ratio=1.23456,
    layers=[
        ShortcutLayer(
            name=str(2 * n), relative_error=0.1234567, covariance_norm=0.1, propagation_norm=0.2
        )
        for n in range(LAYERS)
    ],
)


def full_report() -> Report:
    """A report in which each figure is defined."""
    step = row(7).model_copy(
        update={
            **dict.fromkeys(FIGURES, 123.456),
            "shortcuts": {"averaged_error": SHORTCUT, "mean_example": SHORTCUT},
        }
    )
    evaluated = Evaluated(step=7, epoch=1, **{str(name): 0.75 for name in VALIDATION_FIGURES})
    observed = Observed(
        examples=10,
        norm_buckets=[1] * (len(EXAMPLE_NORM_BOUNDS) + 1),
        norm_sum=12.3456789,
        other_phases={phase: [0.00123456] for phase in PHASES},
    )
    cluster = ClusterSeen(nodes=["a", "b"], busy=["a"], starting=1)
    return report(step, evaluations=[evaluated]).model_copy(
        update={"observed": observed, "cluster": cluster}
    )


def quiet_registry(
    datasets_privacy: Callable[[], dict[str, DatasetPrivacy]] = dict,
) -> tuple[CollectorRegistry, Metrics]:
    """The registry of a service that has just started and has no jobs."""
    registry = CollectorRegistry()
    metrics = Metrics(
        registry,
        version="1.2",
        count_jobs=lambda: dict.fromkeys(JOB_STATUSES, 0),
        datasets_privacy=datasets_privacy,
        disk=DiskSpace([Path.cwd()], 1),
    )
    return registry, metrics


def busy_registry(jobs: int) -> CollectorRegistry:
    """The registry of a service with `jobs` running jobs and one answered request.

    One more job is private; it has series if there are fewer than 50.
    """
    spent = DatasetPrivacy(jobs=1, epsilon=1.5, delta=1e-5, budget=8.0)
    registry, metrics = quiet_registry(lambda: {"digits": spent})
    with TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder)}/store.sqlite3")
        store.migrate()
        job = create(store)
        private = create(store, privacy={"delta": 1e-5, "epsilon": 2.0, "clip_norm": 0.5})
        store.close()
    for number in range(jobs):
        job_id = f"job_01234567890{number:05d}"
        metrics.begin(job.model_copy(update={"id": job_id}))
        metrics.observe(job_id, full_report())
    told = JobPrivacy(**planned(20).model_dump(), epsilon_spent=0.0)
    metrics.begin(private.model_copy(update={"privacy": told}))
    metrics.observe(private.id, report(row(7).model_copy(update={"epsilon": 0.84})))
    metrics.http_request("GET", "/v1/jobs/{job_id}", 200, 0.001)
    return registry
