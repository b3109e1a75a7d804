"""/v1/plans: what a job would do, without queuing it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import JobSpec, Plan
from batchgrad_service.http.json_bodies import json_body
from batchgrad_service.http.responses import json_response
from batchgrad_service.privacy.origins import check_origins
from batchgrad_service.problems import InvalidError, NotFoundError
from batchgrad_service.routes.dependencies import Services, ServicesDep
from batchgrad_service.validation.initial_parameters import warnings_of_start
from batchgrad_service.validation.job_data import JobData, StoredData

router = APIRouter(prefix="/v1/plans", tags=["jobs"])


@router.post("", response_model=Plan, openapi_extra=json_body(JobSpec))
async def plan_job(request: Request, services: ServicesDep) -> Response:
    """What a job with this spec would do: layers, steps, memory and warnings."""
    async with services.bodies.json(request) as body:
        spec = await services.read_spec(body)
        return json_response(await plan(spec, services))


async def plan(spec: JobSpec, services: Services) -> Plan:
    """The plan of a job; nothing is stored."""
    async with data_of(spec, services) as data:
        planned = (await services.plan(spec, data)).plan
        planned, _ = await run_in_threadpool(read_initial_parameters, spec, services, planned, data)
        return planned


@asynccontextmanager
async def data_of(spec: JobSpec, services: Services) -> AsyncIterator[JobData]:
    """The datasets and the code of a spec, kept during the block.

    Raises:
        InvalidError: one of them does not exist, or the code may not run.
    """
    other = spec.validation.dataset if spec.validation else None
    async with AsyncExitStack() as kept:
        own = await kept.enter_async_context(_using(spec.dataset, services, "/dataset"))
        validation = None
        if other is not None:
            validation = await kept.enter_async_context(
                _using(other, services, "/validation/dataset")
            )
        code = None
        if spec.model.code is not None:
            services.torch.check(spec)
            using = contextmanager_in_threadpool(services.code.using(spec.model.code))
            code = await kept.enter_async_context(using)
        yield JobData(own.dataset, own.directory, validation, code)


@asynccontextmanager
async def _using(name: str, services: Services, pointer: str) -> AsyncIterator[StoredData]:
    try:
        await run_in_threadpool(services.store.dataset, name)
    except NotFoundError as missing:
        raise InvalidError.field(pointer, missing.detail, code=missing.code) from None
    async with contextmanager_in_threadpool(services.datasets.using(name)) as (dataset, directory):
        yield StoredData(dataset, directory)


def read_initial_parameters(
    spec: JobSpec, services: Services, planned: Plan, data: JobData
) -> tuple[Plan, bytes | None]:
    """Return the plan with warnings about the initial parameters, and their content if any."""
    if spec.initial_parameters is None:
        return planned, None
    content = services.parameters.read(spec.initial_parameters, spec.model, data.dataset)
    if spec.privacy is not None:
        check_origins(content, data.protected_digests(spec), services.parameters.stored)
    if spec.model.torch is not None:
        return planned, content  # the preflight has warned
    warnings = [*planned.warnings, *warnings_of_start(spec, data.directory, content)]
    return planned.model_copy(update={"warnings": warnings}), content
