"""/v1/gradients: the mean gradient of one minibatch, and the shortcuts beside it."""

from fastapi import APIRouter, Request, Response

from batchgrad.contract import GradientsRequest, GradientsResponse
from batchgrad_service.http.json_bodies import json_body
from batchgrad_service.http.responses import file_response
from batchgrad_service.routes.dependencies import ServicesDep

router = APIRouter(prefix="/v1/gradients", tags=["gradients"])


@router.post("", response_model=GradientsResponse, openapi_extra=json_body(GradientsRequest))
async def compare_gradients(request: Request, services: ServicesDep) -> Response:
    """Compute the exact mean gradient of one minibatch, and how far each shortcut is from it."""
    async with services.bodies.json(request) as body:
        response = await services.questions.ask("gradients", body)
    return file_response(response, "application/json")
