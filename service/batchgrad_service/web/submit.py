"""/submit: a job as a form and as YAML, each following the other, with its plan and errors."""

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse

from batchgrad.contract import Dataset, Job, JobSpec, Plan, Privacy
from batchgrad.parsing.documents import SyntaxFault, parse_yaml
from batchgrad_service.http.limits import MAX_SPEC_CHARACTERS
from batchgrad_service.http.links import below_root
from batchgrad_service.problems import ProblemError
from batchgrad_service.routes import jobs, plans
from batchgrad_service.routes.dependencies import Services, ServicesDep
from batchgrad_service.web.forms import form_fields
from batchgrad_service.web.rendering import PageRoute, page, rendered
from batchgrad_service.web.spec_editor import starts
from batchgrad_service.web.spec_editor.changes import change
from batchgrad_service.web.spec_editor.checking import SpecError, at_lines, check
from batchgrad_service.web.spec_editor.completion import complete
from batchgrad_service.web.spec_editor.form import described, sections
from batchgrad_service.web.spec_editor.nodes import RefusedEditError

router = APIRouter(include_in_schema=False, route_class=PageRoute)
TOO_LONG = f"The text is longer than {MAX_SPEC_CHARACTERS} characters: use `batchgrad submit`."
Planned = tuple[Plan, Privacy | None]


@router.get("/submit")
def read_form(services: ServicesDep, start: str = "layers") -> Response:
    """The form, with a spec for a dataset that there is."""
    text = starts.start(start, _datasets(services))
    return _page(services, text, key=secrets.token_hex(16))


@router.post("/submit")
async def submit(services: ServicesDep, request: Request) -> Response:
    """Queue the job and show it, or show the form again with the plan or the errors."""
    fields, text = await _read(request)
    key = fields.get("key", "")
    checks = fields.get("action") == "check"
    answer = await (_plan(services, text) if checks else _queue(services, text, key))
    if isinstance(answer, Job):
        return RedirectResponse(below_root(f"/jobs/{answer.id}"), 303)
    if isinstance(answer, tuple):
        return await run_in_threadpool(_page, services, text, key=key, planned=answer)
    key = secrets.token_hex(16)
    return await run_in_threadpool(_page, services, text, 422, key=key, errors=answer)


@router.post("/submit/draft")
async def read_draft(services: ServicesDep, request: Request) -> Response:
    """The text after a change of a field, if one is given; its form and its errors."""
    fields, text = await _read(request)
    return JSONResponse(await run_in_threadpool(_draft, services, text, fields))


@router.post("/submit/plan")
async def read_plan(services: ServicesDep, request: Request) -> Response:
    """What the job of a text would do, or what is wrong."""
    _, text = await _read(request)
    answer = await _plan(services, text)
    if isinstance(answer, tuple):
        plan, privacy = answer
        shown = rendered("submit_plan.html", plan=plan, plan_spec_privacy=privacy)
        return JSONResponse({"plan": shown, "errors": []})
    return JSONResponse({"plan": None, "errors": _plain(answer)})


@router.post("/submit/completions")
async def read_completions(services: ServicesDep, request: Request) -> Response:
    """What may be typed between the texts `before` and `after`."""
    fields, _ = await _read(request)
    before, after = fields.get("before", ""), fields.get("after", "")
    if len(before) + len(after) > MAX_SPEC_CHARACTERS:
        return JSONResponse({"typed": 0, "options": []})
    datasets = await run_in_threadpool(_described, services)
    return JSONResponse(asdict(await run_in_threadpool(complete, before, after, datasets)))


async def _read(request: Request) -> tuple[dict[str, str], str]:
    """The fields of a form, and the text of the spec in it."""
    fields = await form_fields(request)
    return fields, fields.get("spec", "").replace("\r\n", "\n")


async def _queue(services: Services, text: str, key: str) -> Job | list[SpecError]:
    """The queued job, or what is wrong in the text."""
    spec = await run_in_threadpool(_checked, text)
    if isinstance(spec, list):
        return spec
    try:
        return (await jobs.queue(spec, services, key or None))[0]
    except ProblemError as problem:
        return await _at_lines(text, problem)


async def _plan(services: Services, text: str) -> Planned | list[SpecError]:
    """The plan of a spec, and its privacy; or what is wrong in the text."""
    spec = await run_in_threadpool(_checked, text)
    if isinstance(spec, list):
        return spec
    try:
        return await plans.plan(spec, services), spec.privacy
    except ProblemError as problem:
        return await _at_lines(text, problem)


def _checked(text: str) -> JobSpec | list[SpecError]:
    return [SpecError(TOO_LONG)] if len(text) > MAX_SPEC_CHARACTERS else check(text)


async def _at_lines(text: str, problem: ProblemError) -> list[SpecError]:
    found = await run_in_threadpool(at_lines, text, problem.errors)
    return found or [SpecError(problem.detail)]


def _draft(services: Services, text: str, fields: dict[str, str]) -> dict[str, Any]:
    """The text, its form (None where it is no YAML), its errors, and why a change is refused."""
    if len(text) > MAX_SPEC_CHARACTERS:
        return {"text": text, "form": None, "errors": _plain([SpecError(TOO_LONG)])}
    refused: list[SpecError] = []
    if action := fields.get("action"):
        pointer = fields.get("pointer", "")
        try:
            text = change(text, action, pointer, fields.get("value", ""))
        except RefusedEditError as error:
            refused = [SpecError(str(error), pointer=pointer)]
        except SyntaxFault:
            pass  # it is among the errors
    checked = check(text)
    errors = [] if isinstance(checked, JobSpec) else checked
    return {"text": text, "form": _form(services, text), "errors": _plain([*refused, *errors])}


def _form(services: Services, text: str) -> str | None:
    """The fields of a text; None where it is no YAML."""
    try:
        value = parse_yaml(text)
    except SyntaxFault:
        return None
    return rendered("submit_form.html", sections=sections(value, _datasets(services)))


def _plain(errors: Sequence[SpecError]) -> list[dict[str, Any]]:
    return [asdict(error) for error in errors]


def _datasets(services: Services) -> list[Dataset]:
    return services.store.datasets(limit=100).data


def _described(services: Services) -> list[tuple[str, str]]:
    return [(one.name, described(one)) for one in _datasets(services)]


def _page(
    services: Services,
    text: str,
    status: int = 200,
    *,
    key: str,
    planned: Planned | None = None,
    errors: Sequence[SpecError] = (),
) -> Response:
    return page(
        "submit.html",
        services,
        status,
        text=text,
        key=key,
        plan=planned[0] if planned else None,
        plan_spec_privacy=planned[1] if planned else None,
        errors=errors,
        wrong_lines={one.line for one in errors},
        form=_form(services, text),
        described=_described(services),
        starts=starts.TITLES,
    )
