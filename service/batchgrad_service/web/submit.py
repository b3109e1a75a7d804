"""/submit: submit a job as YAML text; errors name the line."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from batchgrad.contract import FieldError, Job, Plan, Privacy
from batchgrad.errors import InvalidSpec
from batchgrad.parsing.documents import SyntaxFault
from batchgrad.parsing.key_lines import KeyLines
from batchgrad.parsing.spec_files import parse_job
from batchgrad_service.http.limits import MAX_SPEC_CHARACTERS
from batchgrad_service.http.links import below_root
from batchgrad_service.problems import ProblemError
from batchgrad_service.routes import jobs, plans
from batchgrad_service.routes.dependencies import Services, ServicesDep
from batchgrad_service.web.forms import form_fields
from batchgrad_service.web.rendering import PageRoute, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)
EXAMPLE = """\
name: first
dataset: {dataset}
model:
  layers:
    - {{kind: linear, out_features: 64}}
    - {{kind: relu}}
    - {{kind: linear, out_features: {outputs}}}
loss: {loss}
optimizer: {{kind: sgd, learning_rate: 0.1, momentum: 0.9}}
batch_size: 256            # N, the examples in a minibatch
epochs: 30                 # or steps
validation_fraction: 0.2
standardize: true
# Differentially private: remove standardize, and add
# privacy: {{epsilon: 2, delta: 1e-5, clip_norm: 0.5, validation: public}}
"""


@dataclass(frozen=True)
class SpecError:
    """An error in the text, and its line if it has one."""

    detail: str
    line: int | None = None


@router.get("/submit")
def read_form(services: ServicesDep) -> Response:
    """The form, with a spec for the first dataset that a network of layers can be trained on."""
    found = services.store.datasets(limit=100).data
    known = next((dataset for dataset in found if dataset.target_kind is not None), None)
    classes = known is None or known.target_kind == "classes"
    text = EXAMPLE.format(
        dataset=known.name if known else "digits",
        outputs=(known.classes if known else None) or (10 if classes else 1),
        loss="softmax_cross_entropy" if classes else "squared_error",
    )
    return _form(services, text, key=secrets.token_hex(16))


@router.post("/submit")
async def submit(services: ServicesDep, request: Request) -> Response:
    """Queue the job and show it, or show the form again with the plan or the errors."""
    fields = await form_fields(request)
    text, key, action = (fields.get(name, "") for name in ("spec", "key", "action"))
    text = text.replace("\r\n", "\n")
    answer = await _try(services, text, key, queue=action != "check")
    if isinstance(answer, Job):
        return RedirectResponse(below_root(f"/jobs/{answer.id}"), 303)
    if isinstance(answer, tuple):
        plan, privacy = answer
        return _form(services, text, key=key, plan=plan, plan_privacy=privacy)
    return _form(services, text, 422, key=secrets.token_hex(16), errors=answer)


async def _try(
    services: Services, text: str, key: str, *, queue: bool
) -> Job | tuple[Plan, Privacy | None] | list[SpecError]:
    """The queued job, the plan if the spec is only checked, or the errors in the text."""
    if len(text) > MAX_SPEC_CHARACTERS:
        return [
            SpecError(
                f"The text is longer than {MAX_SPEC_CHARACTERS} characters: use `batchgrad submit`."
            )
        ]
    try:
        spec = await run_in_threadpool(parse_job, text)
    except InvalidSpec as refused:
        if refused.errors:
            return await run_in_threadpool(_at_lines, text, refused.errors)
        fault = refused.__cause__
        return [SpecError(str(refused), fault.line if isinstance(fault, SyntaxFault) else None)]
    try:
        if queue:
            return (await jobs.queue(spec, services, key or None))[0]
        return await plans.plan(spec, services), spec.privacy
    except ProblemError as problem:
        found = await run_in_threadpool(_at_lines, text, problem.errors)
        return found or [SpecError(problem.detail)]


def _at_lines(text: str, errors: Sequence[FieldError]) -> list[SpecError]:
    lines = KeyLines(text, "the text")
    return [SpecError(one.detail, lines.line_of(one.pointer)) for one in errors]


def _form(
    services: Services,
    text: str,
    status: int = 200,
    *,
    key: str,
    plan: Plan | None = None,
    plan_privacy: Privacy | None = None,
    errors: Sequence[SpecError] = (),
) -> Response:
    return page(
        "submit.html",
        services,
        status,
        text=text,
        key=key,
        plan=plan,
        plan_spec_privacy=plan_privacy,
        errors=errors,
        wrong_lines={one.line for one in errors},
        datasets=services.store.datasets(limit=100).data,
    )
