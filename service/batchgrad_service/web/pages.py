"""The pages /, /jobs/{id} and /try."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from fastapi import APIRouter, Response

from batchgrad.contract import (
    ACTIVATIONS,
    EXAMPLE_NORM_BOUNDS,
    JOB_STATUSES,
    LOSSES,
    TERMINAL,
    ArrayInfo,
    DatasetPrivacy,
    Job,
    Table,
)
from batchgrad.display.data.dataset_table import has_other_arrays
from batchgrad_service.datasets.validation import listed
from batchgrad_service.problems import NotFoundError
from batchgrad_service.routes.dependencies import Services, ServicesDep
from batchgrad_service.routes.jobs import FilterDep
from batchgrad_service.web.charts import charts_of
from batchgrad_service.web.rendering import PageRoute, page
from batchgrad_workers.data.dataset import StoredDataset, stored_table

router = APIRouter(include_in_schema=False, route_class=PageRoute)
EVENTS_SHOWN = 30
NOT_ENDED = ",".join(status for status in JOB_STATUSES if status not in TERMINAL)


@router.get("/")
def read_jobs(services: ServicesDep, wanted: FilterDep, after: str | None = None) -> Response:
    """The list of jobs, the newest first."""
    query = wanted.query()
    status = query.get("status", "")
    states: dict[str, str] = {"": "any state", NOT_ENDED: "not ended"}
    states |= {one: one for one in (*JOB_STATUSES, status) if one not in states}
    return page(
        "jobs.html",
        services,
        jobs=wanted.page(services, after),
        after=after,
        query=query,
        states=states,
    )


@router.get("/jobs/{job_id}")
def read_job(job_id: str, services: ServicesDep) -> Response:
    """One job: figures, charts, events and spec."""
    return page("job.html", services, **job_shown(services.store.job(job_id), services))


def job_shown(job: Job, services: Services) -> dict[str, Any]:
    """What the page of a job shows, by the names of its template."""
    events, last_event = services.store.newest_events(job.id, EVENTS_SHOWN)
    spec = job.spec.model_dump(mode="json", exclude_none=True)
    return {
        "job": job,
        "events": events,
        "last_event": last_event,
        "checkpoints": services.store.checkpoints(job.id),
        "table": _table(job.id, services),
        "arrays": _arrays(job.id, services),
        "spec": yaml.safe_dump(spec, sort_keys=False, allow_unicode=True),
        "charts": charts_of(job.spec),
        "dataset_privacy": _dataset_privacy(job, services),
        "norm_bounds": EXAMPLE_NORM_BOUNDS,
    }


def _dataset_privacy(job: Job, services: Services) -> DatasetPrivacy | None:
    """What private jobs spent on the job's dataset; None if it was deleted or replaced."""
    if job.spec.privacy is None:
        return None
    try:
        dataset = services.store.dataset(job.spec.dataset)
    except NotFoundError:
        return None
    trained_on = services.store.job_inputs(job.id).dataset_digest
    return dataset.privacy if dataset.digest == trained_on else None


def _table(job_id: str, services: Services) -> Table | None:
    """Columns and classes of the job's dataset; None if it has none, or was deleted."""
    digest = services.store.job_inputs(job_id).dataset_digest
    try:
        return _known_table(services.datasets.directory(digest))
    except FileNotFoundError:
        return None


@lru_cache(maxsize=16)
def _known_table(content: Path) -> Table:
    return stored_table(content)  # a content never changes


def _arrays(job_id: str, services: Services) -> list[ArrayInfo]:
    """The arrays of the job's dataset; [] if they are inputs and targets, or it was deleted."""
    digest = services.store.job_inputs(job_id).dataset_digest
    try:
        arrays = _known_arrays(services.datasets.directory(digest))
    except FileNotFoundError:
        return []
    return arrays if has_other_arrays(arrays) else []


@lru_cache(maxsize=16)
def _known_arrays(content: Path) -> list[ArrayInfo]:
    return listed(StoredDataset.open(content))  # a content never changes


@router.get("/try")
def read_try(services: ServicesDep) -> Response:
    """A small network and a few examples to edit, with their gradients."""
    return page("try.html", services, losses=LOSSES, activations=ACTIVATIONS)
