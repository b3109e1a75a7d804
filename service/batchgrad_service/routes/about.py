"""The service's version, health, readiness and metrics."""

from typing import Any

from fastapi import APIRouter, Request, Response

from batchgrad.contract import Version
from batchgrad_service.http.responses import json_response
from batchgrad_service.metrics.registry import exposition
from batchgrad_service.problems import UnavailableError
from batchgrad_service.routes.dependencies import ServicesDep

router = APIRouter()
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/v1/version", response_model=Version, tags=["service"])
def read_version(services: ServicesDep) -> Response:
    """The service's version, and the versions and CPU that a run's bits depend on."""
    return json_response(services.version)


@router.get("/healthz", tags=["service"])
async def read_health() -> dict[str, str]:
    """200 if the process responds; needs no database and no thread."""
    return {"status": "ok"}


@router.get("/readyz", tags=["service"])
def read_readiness(services: ServicesDep) -> dict[str, str]:
    """200 if jobs can run; 503 while the service starts or stops, or cannot run jobs."""
    if services.shutdown.begun or not services.supervisor.ready():
        raise UnavailableError(
            "The service is not ready: it is starting or stopping.", code="not_ready"
        )
    services.store.count_by_status()
    if problem := services.problem():
        code, detail = problem
        raise UnavailableError(detail, code=code)
    return {"status": "ready"}


@router.get("/metrics", response_class=Response, responses=_TEXT, tags=["service"])
def read_metrics(services: ServicesDep, request: Request) -> Response:
    """Metrics in Prometheus's text format, or in OpenMetrics if Accept names it."""
    text, media_type = exposition(services.registry, request.headers.get("accept", ""))
    return Response(text, media_type=media_type)
