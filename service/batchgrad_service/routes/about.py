"""The question itself, and what the service says of itself: version, health, metrics."""

from typing import Any

from fastapi import APIRouter, Request, Response

from batchgrad.contract import GradientsRequest, GradientsResponse, Version
from batchgrad_service.http.json_bodies import json_body
from batchgrad_service.http.responses import file_response, json_response
from batchgrad_service.metrics.registry import exposition
from batchgrad_service.problems import UnavailableError
from batchgrad_service.routes.dependencies import ServicesDep

router = APIRouter()
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.post(
    "/v1/gradients",
    response_model=GradientsResponse,
    openapi_extra=json_body(GradientsRequest),
    tags=["gradients"],
)
async def compare_gradients(request: Request, services: ServicesDep) -> Response:
    """One minibatch: the exact mean gradient, and how far each shortcut is from it."""
    async with services.bodies.json(request) as body:
        answer = await services.questions.ask("gradients", body)
    return file_response(answer, "application/json")


@router.get("/v1/version", response_model=Version, tags=["service"])
def read_version(services: ServicesDep) -> Response:
    """The service's version, and what decides the bits of a run."""
    return json_response(services.version)


@router.get("/healthz", tags=["service"])
async def read_health() -> dict[str, str]:
    """The process answers; at once, since it waits for no thread."""
    return {"status": "ok"}


@router.get("/readyz", tags=["service"])
def read_readiness(services: ServicesDep) -> dict[str, str]:
    """Jobs can be run; 503 before that, and while the service stops."""
    if services.shutdown.begun or not services.supervisor.ready():
        raise UnavailableError(
            "The service is not ready: it is starting or stopping.", code="not_ready"
        )
    services.store.count_by_status()
    if trouble := services.trouble():
        code, detail = trouble
        raise UnavailableError(detail, code=code)
    return {"status": "ready"}


@router.get("/metrics", response_class=Response, responses=_TEXT, tags=["service"])
def read_metrics(services: ServicesDep, request: Request) -> Response:
    """What Prometheus reads: as OpenMetrics if it asks for that, else in its own text format."""
    text, media_type = exposition(services.registry, request.headers.get("accept", ""))
    return Response(text, media_type=media_type)
