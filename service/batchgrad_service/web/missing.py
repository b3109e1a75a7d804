"""The page for a path that no route has, for browsers; other clients get the problem as JSON."""

import json

from fastapi import FastAPI, Request, Response

from batchgrad_service.http.error_handlers import framework_error
from batchgrad_service.http.links import ROOT, root_of
from batchgrad_service.web.rendering import page


def install(app: FastAPI) -> None:
    """Answer browsers with a page; after error_handlers.install."""
    app.add_exception_handler(404, _missing)


def _missing(request: Request, error: Exception) -> Response:
    answer = framework_error(request, error)
    if answer.status_code != 404 or "text/html" not in request.headers.get("accept", ""):
        return answer
    ROOT.set(root_of(request.url.path))
    detail = json.loads(bytes(answer.body))["detail"]
    return page("problem.html", request.app.state.services, 404, detail=detail)
