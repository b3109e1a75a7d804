"""The page /jobs/compare: jobs laid over one another, and the jobs of a sweep."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from batchgrad.contract import Job
from batchgrad_service.problems import InvalidError, NotFoundError
from batchgrad_service.routes.dependencies import Services, ServicesDep
from batchgrad_service.routes.jobs import label_pair
from batchgrad_service.web import charts
from batchgrad_service.web.comparison import MOST_CURVES, MOST_KEYS, compared
from batchgrad_service.web.rendering import PageRoute, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)
MOST_JOBS = 1000
"""As many as a sweep has at most."""


_OF_A_JOB = {chart.key: chart for chart in charts.CHARTS}
CHARTS = (
    _OF_A_JOB["loss"],
    _OF_A_JOB["gap"]._replace(title="Gap of the shortcut"),
    charts.Chart("validation_loss", "Validation loss", "Mean loss of the validation examples.", ""),
    _OF_A_JOB["accuracy"],
    _OF_A_JOB["r2"],
)


@router.get("/jobs/compare")
def read_comparison(
    services: ServicesDep,
    ids: Annotated[list[str] | None, Query()] = None,
    label: Annotated[str, Query(max_length=500)] = "",
    sort: Annotated[str, Query(max_length=500)] = "",
    descending: bool = False,
    by: Literal["step", "epoch", "time"] = "step",
) -> Response:
    """The jobs of `ids`, which may be a list with commas, or those that have a label KEY=VALUE."""
    chosen = list(dict.fromkeys(one for text in ids or () for one in text.split(",") if one))
    if not chosen and not label:
        return page("compare.html", services, comparison=None, label="", query={})
    jobs = _of_label(services, label) if label else _of_ids(services, chosen)
    comparison = compared(jobs, sort, descending=descending, best=bool(label))
    query = {"label": label} if label else {"ids": ",".join(chosen)}
    return page(
        "compare.html",
        services,
        comparison=comparison,
        label=label,
        query=query if by == "step" else {**query, "by": by},
        by=by,
        charts=CHARTS,
        steps_per_epoch={
            row.job.id: _steps_per_epoch(services, row.job.id)
            for row in comparison.rows
            if row.series is not None
        },
        most_keys=MOST_KEYS,
    )


def _of_ids(services: Services, ids: list[str]) -> list[Job]:
    if not 2 <= len(ids) <= MOST_CURVES:
        raise InvalidError(
            f"ids names {len(ids)} job{'s' * (len(ids) != 1)}; expected 2 to {MOST_CURVES} "
            "different ones: choose them in the list of jobs. More can be compared by a label "
            "that they have: ?label=KEY=VALUE."
        )
    return [services.store.job(one) for one in ids]


def _of_label(services: Services, label: str) -> list[Job]:
    """The jobs with a label, the oldest first, as a sweep has created them."""
    found = services.store.jobs(label=label_pair(label), limit=MOST_JOBS).data
    if not found:
        raise NotFoundError(f"No job has the label {label!r:.100}: GET /v1/jobs lists all jobs.")
    return found[::-1]


def _steps_per_epoch(services: Services, job_id: str) -> int | None:
    """Of the job's plan, its second event; None in the database of an early version."""
    events = services.store.events(job_id, after=1, limit=1).data
    return events[0].data.get("steps_per_epoch") if events and events[0].type == "plan" else None
