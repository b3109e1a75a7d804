"""The question itself, and what the service says of itself: version, health, metrics."""

from typing import Any

from fastapi import APIRouter, Request, Response

from batchgrad.contract import GradientsRequest, GradientsResponse, Version
from batchgrad_service.http.bodies import json_body
from batchgrad_service.http.large_responses import sent_from
from batchgrad_service.metrics.registry import exposition
from batchgrad_service.problems import UnavailableError
from batchgrad_service.routes.dependencies import Served, as_json

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
async def compare_gradients(request: Request, served: Served) -> Response:
    """One minibatch: the exact mean gradient, and how far each shortcut is from it."""
    async with served.bodies.json(request) as body:
        answer = await served.questions.ask("gradients", body)
    return sent_from(answer, "application/json")


@router.get("/v1/version", response_model=Version, tags=["service"])
def read_version(served: Served) -> Response:
    """The service's version, and what decides the bits of a run."""
    return as_json(served.version)


@router.get("/healthz", tags=["service"])
async def read_health() -> dict[str, str]:
    """The process answers; at once, since it waits for no thread."""
    return {"status": "ok"}


@router.get("/readyz", tags=["service"])
def read_readiness(served: Served) -> dict[str, str]:
    """Jobs can be run; 503 before that, and while the service stops."""
    if served.closing.begun or not served.supervisor.ready():
        raise UnavailableError(
            "The service is not ready: it is starting or stopping.", code="not_ready"
        )
    served.store.count_by_status()
    if trouble := served.trouble():
        code, detail = trouble
        raise UnavailableError(detail, code=code)
    return {"status": "ready"}


@router.get("/metrics", response_class=Response, responses=_TEXT, tags=["service"])
def read_metrics(served: Served, request: Request) -> Response:
    """What Prometheus reads: as OpenMetrics if it asks for that, else in its own text format."""
    text, media_type = exposition(served.registry, request.headers.get("accept", ""))
    return Response(text, media_type=media_type)
