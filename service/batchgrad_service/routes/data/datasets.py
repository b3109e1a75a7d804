"""/v1/datasets: store, list, read and delete datasets."""

from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import Dataset, ImportRequest, Operation, Page, PrivacyBudget
from batchgrad_service.http.json_bodies import is_json, json_body, read_body
from batchgrad_service.http.responses import json_response
from batchgrad_service.operations.imports import ImportWork
from batchgrad_service.problems import UnsupportedMediaTypeError
from batchgrad_service.routes.dependencies import Services, ServicesDep

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
_WRITE_BYTES = 2**20
_BINARY = {"type": "string", "format": "binary"}
_KINDS = ("application/x-npz", "application/octet-stream")
_IMPORT = json_body(ImportRequest)["requestBody"]["content"]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {**{kind: {"schema": _BINARY} for kind in _KINDS}, **_IMPORT},
    }
}


@router.put(
    "/{name}",
    status_code=201,
    response_model=Dataset,
    responses={
        200: {
            "model": Dataset,
            "description": "The dataset already had this content, or was replaced",
        },
        202: {"model": Operation, "description": "The uploaded file is being read"},
    },
    openapi_extra=_BODY,
)
async def put_dataset(
    name: Name, services: ServicesDep, request: Request, replace: bool = False
) -> Response:
    """Store an npz file with `inputs` (n, …), `targets` and optional `weights` (n,).

    201 for a new name. 200 if the dataset already has this content, or if ?replace=true replaced
    it. With an ImportRequest as body: 202, and the operation that reads an uploaded file; read
    the operation until it has ended.
    """
    content_type = request.headers.get("content-type", "")
    if is_json(content_type):
        return await _import(name, services, request, replace=replace)
    if content_type.startswith("multipart/"):
        raise UnsupportedMediaTypeError(
            f"The body has content type {content_type:.100}; expected the bytes of an npz file, "
            "with content type application/x-npz, or an ImportRequest as application/json."
        )
    # The archive and its unpacked arrays are on the disk at the same time.
    services.disk.require(2 * int(request.headers.get("content-length", "0")))
    with services.datasets.upload() as path:
        await _receive(request, path)
        dataset, outcome = await run_in_threadpool(
            services.datasets.put, name, path, replace=replace
        )
    if outcome == "created":
        return json_response(dataset, 201, {"Location": f"/v1/datasets/{name}"})
    return json_response(dataset)


async def _import(name: str, services: Services, request: Request, *, replace: bool) -> Response:
    """Begin to read an uploaded file."""
    async with services.bodies.json(request) as body:
        wanted = await run_in_threadpool(read_body, ImportRequest, body)
    if replace:
        wanted = wanted.model_copy(update={"replace": True})
    operation = await run_in_threadpool(_begin, name, services, wanted)
    return json_response(operation, 202, {"Location": f"/v1/operations/{operation.id}"})


def _begin(name: str, services: Services, wanted: ImportRequest) -> Operation:
    read_bytes = services.uploads.check_complete(wanted.file.upload)
    with services.uploads.using(wanted.file.upload):  # else it would make room itself
        services.uploads.make_room(read_bytes)  # an estimate of the arrays' length
    work = ImportWork(name, wanted, read_bytes, services.datasets, services.uploads)
    return services.operations.start(work)


async def _receive(request: Request, path: FilePath) -> None:
    """Write the body to `path`. AccessMiddleware limits its length."""
    with path.open("xb") as file:
        buffer = bytearray()
        async for chunk in request.stream():
            buffer += chunk
            if len(buffer) >= _WRITE_BYTES:
                await run_in_threadpool(file.write, bytes(buffer))
                buffer.clear()
        await run_in_threadpool(file.write, bytes(buffer))


@router.get("", response_model=Page[Dataset])
def list_datasets(
    services: ServicesDep,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Response:
    """Datasets in the order of their names."""
    return json_response(services.store.datasets(after, limit))


@router.get("/{name}", response_model=Dataset)
def read_dataset(name: Name, services: ServicesDep) -> Response:
    """One dataset's description, without its content."""
    return json_response(services.store.dataset(name))


@router.put(
    "/{name}/privacy-budget", response_model=Dataset, openapi_extra=json_body(PrivacyBudget)
)
async def set_privacy_budget(name: Name, services: ServicesDep, request: Request) -> Response:
    """Limit the ε that private jobs may spend on the dataset, all together, deleted jobs too.

    The budget is of the content: another name of the same content has it too. A job that would
    exceed it is refused: 409, `privacy_budget_spent`. It may be less than what was spent.
    """
    async with services.bodies.json(request) as body:
        wanted = await run_in_threadpool(read_body, PrivacyBudget, body)
    await run_in_threadpool(services.store.set_privacy_budget, name, wanted.epsilon)
    return json_response(await run_in_threadpool(services.store.dataset, name))


@router.delete("/{name}/privacy-budget", status_code=204)
def remove_privacy_budget(name: Name, services: ServicesDep) -> Response:
    """Remove the limit; what was spent stays counted."""
    services.store.set_privacy_budget(name, None)
    return Response(status_code=204)


@router.delete("/{name}", status_code=204)
def delete_dataset(name: Name, services: ServicesDep) -> Response:
    """Delete a dataset that no unfinished job uses."""
    services.datasets.delete(name)
    return Response(status_code=204)
