"""/v1/jobs: submit, list, read, delete, cancel, pause and resume jobs."""

import hashlib
import shutil
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Annotated, get_args

import structlog
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import (
    TERMINAL,
    InitialParameters,
    Job,
    JobSpec,
    JobStatus,
    Page,
    ResumeRequest,
)
from batchgrad_service.http.json_bodies import json_body, read_body
from batchgrad_service.http.responses import json_response
from batchgrad_service.privacy.refusals import LONGER, refuse_private
from batchgrad_service.problems import InvalidError, dataset_gone
from batchgrad_service.routes.dependencies import Planned, Services, ServicesDep
from batchgrad_service.routes.plans import data_of, read_initial_parameters
from batchgrad_service.store import PrivateJob
from batchgrad_service.validation.job_data import JobData

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
Limit = Annotated[int, Query(ge=1, le=1000)]
Key = Annotated[str | None, Header(min_length=1, max_length=255)]


@router.post(
    "",
    status_code=201,
    response_model=Job,
    responses={200: {"model": Job, "description": "The job that this key submitted before"}},
    openapi_extra=json_body(JobSpec),
)
async def submit_job(
    request: Request, services: ServicesDep, idempotency_key: Key = None
) -> Response:
    """Queue a job: 201. If the Idempotency-Key was used before, return its job: 200."""
    if request.url.query:  # such as dry_run, which would create nothing
        raise InvalidError(
            f"POST /v1/jobs creates a job and has no query parameters, got "
            f"{request.url.query!r:.100}; POST /v1/plans answers what a job would do."
        )
    async with services.bodies.json(request) as body:
        spec = await services.read_spec(body)
        job, created = await queue(spec, services, idempotency_key)
    if not created:
        return json_response(job)
    return json_response(job, 201, {"Location": f"/v1/jobs/{job.id}"})


async def queue(spec: JobSpec, services: Services, key: str | None) -> tuple[Job, bool]:
    """The job, queued, and whether it is new under this `key`."""
    body_digest = await run_in_threadpool(_digest, spec)
    if key is not None:
        earlier = await run_in_threadpool(services.store.replayed_job, key, body_digest)
        if earlier is not None:
            return earlier, False
    services.disk.require()
    async with data_of(spec, services) as data:
        planned = await services.plan(spec, data)
        return await run_in_threadpool(_store, spec, services, planned, data, key, body_digest)


def _digest(spec: JobSpec) -> str:
    """The digest of the whole spec, which may have megabytes of parameters."""
    return _digest_of(spec.model_dump_json())


def _digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _store(
    spec: JobSpec,
    services: Services,
    planned: Planned,
    data: JobData,
    key: str | None,
    body_digest: str,
) -> tuple[Job, bool]:
    """Store the job with its initial parameters, and wake the supervisor."""
    with services.parameters.lock if spec.initial_parameters is not None else nullcontext():
        plan, content = read_initial_parameters(spec, services, planned.plan, data)
        private = None
        if plan.privacy is not None and planned.accounted is not None:
            private = PrivateJob.of(plan.privacy, planned.accounted)
        digest = None
        if content is not None:
            digest = services.parameters.keep(content)
            spec = spec.model_copy(update={"initial_parameters": _stored(spec, digest)})
        job, created = services.store.create_job(
            spec,
            dataset_digest=data.dataset.digest,
            validation_digest=data.validation.dataset.digest if data.validation else None,
            steps_planned=plan.steps_planned,
            warnings=plan.warnings,
            plan=plan,
            initial_parameters=digest,
            idempotency_key=key,
            body_digest=body_digest,
            request_id=structlog.contextvars.get_contextvars().get("request_id"),
            private=private,
            keep_key=services.private.keys.keep if private is not None else None,
        )
    if created:
        services.supervisor.notify()
    return job, created


def _stored(spec: JobSpec, digest: str) -> InitialParameters:
    """The same initial parameters, named by the digest of the stored file."""
    given = spec.initial_parameters.standardization if spec.initial_parameters else "own"
    return InitialParameters(digest=digest, standardization=given)


@dataclass(frozen=True)
class JobFilter:
    """Which jobs are listed; None: all."""

    statuses: list[JobStatus] | None
    label: tuple[str, str] | None
    search: str | None

    def query(self) -> dict[str, str]:
        """The query parameters that mean the same."""
        given = {
            "search": self.search,
            "status": ",".join(self.statuses or ()),
            "label": "=".join(self.label or ()),
        }
        return {name: text for name, text in given.items() if text}

    def page(self, services: Services, after: str | None, limit: int = 50) -> Page[Job]:
        """The next jobs, the newest first."""
        return services.store.jobs(
            statuses=self.statuses, label=self.label, search=self.search, after=after, limit=limit
        )


def job_filter(
    status: Annotated[list[str] | None, Query()] = None,
    label: Annotated[str | None, Query(description="KEY=VALUE")] = None,
    search: Annotated[
        str | None,
        Query(
            max_length=500,
            description="words, each a part of the name, the id, the dataset or a label KEY=VALUE",
        ),
    ] = None,
) -> JobFilter:
    """The query parameters; a form sends those that are left blank as empty text, for all jobs."""
    pair = label_pair(label) if label else None
    return JobFilter(_statuses(status) if status else None, pair, search)


FilterDep = Annotated[JobFilter, Depends(job_filter)]


def label_pair(label: str) -> tuple[str, str]:
    """The key and the value. Raises InvalidError."""
    name, equals, value = label.partition("=")
    if not equals:
        raise InvalidError(f"label is {label!r:.100}; expected KEY=VALUE.")
    return name, value


@router.get("", response_model=Page[Job])
def list_jobs(
    services: ServicesDep, wanted: FilterDep, after: str | None = None, limit: Limit = 50
) -> Response:
    """Jobs, the newest first; `status` can be repeated, or be a list with commas."""
    return json_response(wanted.page(services, after, limit))


def _statuses(given: list[str]) -> list[JobStatus] | None:
    known: dict[str, JobStatus] = {status: status for status in get_args(JobStatus)}
    words = [word for text in given for word in text.split(",") if word]
    unknown = [word for word in words if word not in known]
    if unknown:
        raise InvalidError(f"status is {unknown[0]!r:.100}; expected one of {', '.join(known)}.")
    return [known[word] for word in words] or None


@router.get("/{job_id}", response_model=Job)
def read_job(job_id: str, services: ServicesDep) -> Response:
    """One job."""
    # RememberedJobs answers what is remembered.
    return Response(services.job_answers.read(job_id), media_type="application/json")


@router.delete("/{job_id}", status_code=204)
def delete_job(job_id: str, services: ServicesDep) -> Response:
    """Delete a finished job with its history, checkpoints and files."""
    inputs = services.store.job_inputs(job_id)
    if services.store.job(job_id).status in TERMINAL:
        services.supervisor.end_engine(job_id)
    services.store.delete_job(job_id)
    services.private.ended(job_id)
    shutil.rmtree(services.job_directory(job_id), ignore_errors=True)
    services.parameters.drop_unused(inputs.initial_parameters)
    services.code.drop_unused(inputs.code)
    for digest in inputs.dataset_digests:
        services.datasets.drop_unused(digest)
    return Response(status_code=204, background=BackgroundTask(services.store.give_back))


@router.post("/{job_id}/cancel", status_code=202, response_model=Job)
def cancel_job(job_id: str, services: ServicesDep) -> Response:
    """Cancel a job after its current step. Repeated requests have no further effect."""
    return json_response(services.supervisor.cancel(job_id), 202)


@router.post("/{job_id}/pause", status_code=202, response_model=Job)
def pause_job(job_id: str, services: ServicesDep) -> Response:
    """Pause a job after its current step, with a checkpoint."""
    return json_response(services.supervisor.pause(job_id), 202)


@router.post(
    "/{job_id}/resume",
    status_code=202,
    response_model=Job,
    openapi_extra=json_body(ResumeRequest, required=False),
)
async def resume_job(
    job_id: str, request: Request, services: ServicesDep, idempotency_key: Key = None
) -> Response:
    """Queue a paused job again, or, with `more_epochs` or `more_steps`, one that has ended.

    It trains on from its newest checkpoint; it stays one job, with one history. The request may be
    sent again with the same Idempotency-Key.
    """
    async with services.bodies.json(request) as body:
        more = await run_in_threadpool(read_body, ResumeRequest, body or b"{}")
    if more.more_epochs is None and more.more_steps is None:
        return json_response(await run_in_threadpool(services.supervisor.resume, job_id), 202)
    job = await run_in_threadpool(_lengthen, job_id, services, more, idempotency_key)
    services.feeds.resumed(job_id)
    return json_response(job, 202)


def _lengthen(job_id: str, services: Services, more: ResumeRequest, key: str | None) -> Job:
    """Queue a job that has ended, whose datasets are still there."""
    services.disk.require()
    refuse_private(job_id, services.store.job_inputs(job_id).spec, LONGER)
    digest = _digest_of(f"{job_id} {more.model_dump_json()}")
    with ExitStack() as held:
        for content in services.store.job_inputs(job_id).dataset_digests:
            if not held.enter_context(services.datasets.holding(content)).exists():
                raise dataset_gone(job_id, content)
        return services.supervisor.lengthen(job_id, more, key, digest)
