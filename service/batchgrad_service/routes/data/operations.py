"""/v1/operations: imports, predictions and evaluations, each done by a process of its own."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse

from batchgrad.contract import Operation, Page
from batchgrad_service.http.responses import json_response
from batchgrad_service.routes.dependencies import ServicesDep

router = APIRouter(prefix="/v1/operations", tags=["operations"])
_ANY_BYTES = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}


@router.get("", response_model=Page[Operation])
def list_operations(
    services: ServicesDep,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Response:
    """Operations, newest first."""
    return json_response(services.operations.page(after, limit))


@router.get("/{operation_id}", response_model=Operation)
def read_operation(operation_id: str, services: ServicesDep) -> Response:
    """How far an operation is, and its result when it has succeeded."""
    return json_response(services.operations.get(operation_id))


@router.delete("/{operation_id}", status_code=204)
def cancel_operation(operation_id: str, services: ServicesDep) -> Response:
    """Cancel an operation; forget one that has ended."""
    services.operations.cancel(operation_id)
    return Response(status_code=204)


@router.get("/{operation_id}/result", response_class=FileResponse, responses={200: _ANY_BYTES})
def read_operation_result(operation_id: str, services: ServicesDep) -> FileResponse:
    """The file that a prediction has written."""
    path, media_type = services.operations.file(operation_id)
    return FileResponse(path, media_type=media_type)
