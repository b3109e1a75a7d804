"""Render pages from templates, with the headers that every page has."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from math import ceil
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from batchgrad.contract import FIGURES, TERMINAL, Job
from batchgrad.display import privacy
from batchgrad.display.data.dataset_table import (
    ARRAY_HEADING,
    COLUMN_HEADING,
    array_cells,
    column_cells,
)
from batchgrad.display.events import sentence
from batchgrad.display.numbers import (
    NONE,
    best,
    duration,
    percent,
    place,
    size,
    validation_figures,
)
from batchgrad_service.http.links import ROOT, root_of
from batchgrad_service.problems import ProblemError
from batchgrad_service.routes.dependencies import Services
from batchgrad_service.web.assets import PLOTLY, plotly_style_ids
from batchgrad_service.web.charts import HERO, PARTS
from batchgrad_service.web.numbers import number, typeset
from batchgrad_workers.system.disk import disk_full_message, is_disk_full

HEADERS = {
    # No other host, no inline script, no inline style; tested with Plotly.
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

PAGES = (
    # the letter of its shortcut, the name in `here`, the path, the title
    ("j", "jobs", "", "Jobs"),
    ("s", "submit", "submit", "Submit"),
    ("t", "try", "try", "Try it"),
    ("w", "why", "why", "Why"),
    ("a", "docs", "docs", "API"),
    ("g", "guide", "guide/", "Guide"),
)


def _moment(value: datetime | None) -> str:
    """In UTC; static/moments.js shows the reader's own time."""
    if value is None:
        return NONE
    told = '<time datetime="{}">{} UTC</time>'
    return Markup(told).format(value.isoformat(), f"{value:%Y-%m-%d %H:%M:%S}")  # noqa: S704


def _steps_due(job: Job) -> int:
    """The steps of a full bar: of a job that stopped early, those that it did."""
    return max(job.step if job.status == "succeeded" else job.steps_planned, 1)


def _percent_done(job: Job) -> int:
    return 100 * job.step // _steps_due(job)


def seconds_of(job: Job) -> float | None:
    """From the start to the end, or until now, pauses included; None before the start.

    None of a private job too, whose speed would tell of its minibatches.
    """
    if job.started_at is None or job.spec.privacy is not None:
        return None
    end = job.finished_at or datetime.now(UTC)
    return max((end - job.started_at).total_seconds(), 0.0)


def _duration(job: Job) -> str:
    seconds = seconds_of(job)
    return NONE if seconds is None else duration(seconds)


def _percent_spent(job: Job) -> int:
    """Of the privacy budget, rounded up; 0 without one."""
    budget, spent = privacy.budget(job), job.privacy and job.privacy.epsilon_spent
    return min(ceil(100 * spent / budget), 100) if budget and spent else 0


_templates = Environment(
    loader=PackageLoader("batchgrad_service.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {
    "best": best,
    "budget": privacy.budget,
    "dataset_spent": privacy.of_dataset,
    "percent_spent": _percent_spent,
    "planned_privacy": privacy.of_plan,
    "privacy_figures": privacy.figures,
    "spent": privacy.spent,
    "epsilon": privacy.upper,
    "array_cells": array_cells,
    "column_cells": column_cells,
    "number": number,
    "percent": percent,
    "place": place,
    "sentence": sentence,
    "size": size,
    "moment": _moment,
    "percent_done": _percent_done,
    "steps_due": _steps_due,
    "duration": _duration,
    "typeset": typeset,
    "validation_figures": lambda job: validation_figures(vars(job)),
}
_templates.globals |= {
    "plotly": PLOTLY,
    "plotly_style_ids": plotly_style_ids,
    "ARRAY_HEADING": ARRAY_HEADING,
    "COLUMN_HEADING": COLUMN_HEADING,
    "CHART_PARTS": PARTS,
    "FIGURES": FIGURES,
    "PAGES": PAGES,
    "HERO": HERO,
    "TERMINAL": TERMINAL,
    "UNSAFE": privacy.UNSAFE,
}


def rendered(template: str, **shown: Any) -> str:
    """`template` rendered with the variables `shown`."""
    return _templates.get_template(template).render(root=ROOT.get(), **shown)


def page(template: str, services: Services, status: int = 200, **shown: Any) -> Response:
    """A page: `template` rendered with the variables `shown`, and those that every page has."""
    text = rendered(
        template,
        status=status,
        with_login=services.authenticator is not None,
        version=services.version.version,
        problem=services.problem(),
        **shown,
    )
    return HTMLResponse(text, status, headers=HEADERS)


class PageRoute(APIRoute):
    """A route whose errors are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            services: Services = request.app.state.services
            ROOT.set(root_of(request.url.path))
            try:
                return await handle(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                detail = f"{first['loc'][-1]}: {first['msg']}."
                return page("problem.html", services, 422, detail=detail)
            except ProblemError as problem:
                return page("problem.html", services, problem.status, detail=problem.detail)
            except OSError as error:
                if not is_disk_full(error):
                    raise
                return page("problem.html", services, 507, detail=disk_full_message(error))

        return handled
