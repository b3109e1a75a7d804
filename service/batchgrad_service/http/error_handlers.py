"""Turn every exception into a response with application/problem+json (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.routing import Match

from batchgrad import contract
from batchgrad.parsing.validation import field_errors
from batchgrad_service.problems import (
    BadRequestError,
    InsufficientStorageError,
    InvalidError,
    NotFoundError,
    ProblemError,
    TooLargeError,
)
from batchgrad_workers.system.disk import disk_full_message, is_disk_full

MEDIA_TYPE = "application/problem+json"


def problem_response(
    status: int,
    code: str,
    detail: str,
    request_id: str | None,
    *,
    errors: list[contract.FieldError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A response with a problem."""
    problem = _details(status, code, detail, request_id, errors or [])
    return Response(problem.model_dump_json(), status, headers=headers, media_type=MEDIA_TYPE)


def as_response(problem: ProblemError, request_id: str | None) -> Response:
    """The response for a problem that was raised."""
    return problem_response(
        problem.status,
        problem.code,
        problem.detail,
        request_id,
        errors=problem.errors,
        headers=problem.headers,
    )


def as_details(problem: ProblemError) -> contract.ProblemDetails:
    """A problem that was raised outside of a request."""
    return _details(problem.status, problem.code, problem.detail, None, problem.errors)


def _details(
    status: int,
    code: str,
    detail: str,
    request_id: str | None,
    errors: list[contract.FieldError],
) -> contract.ProblemDetails:
    return contract.ProblemDetails(
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        errors=errors,
        request_id=request_id,
    )


def install(app: FastAPI) -> None:
    """Handle ProblemError, the framework's own errors, validation errors and a full disk."""
    app.add_exception_handler(ProblemError, _raised)
    app.add_exception_handler(HTTPException, framework_error)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(OSError, _file_system)


def _request_id(request: Request) -> str | None:
    return getattr(request.state, "request_id", None)


def _raised(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - Starlette's signature is too wide
    return as_response(error, _request_id(request))


def _file_system(request: Request, error: Exception) -> Response:
    if not is_disk_full(error):
        raise error
    return as_response(InsufficientStorageError(disk_full_message(error)), _request_id(request))


def framework_error(request: Request, error: Exception) -> Response:
    """The problem for an unknown path or method, or a request that cannot be parsed."""
    assert isinstance(error, HTTPException)  # noqa: S101
    method, path, headers = request.method, request.url.path, error.headers
    if error.status_code == HTTPStatus.NOT_FOUND:
        if _has_extra_slash(request):
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"../{quote(path.split('/')[-2])}{query}", 307)
        code, detail = (
            NotFoundError.default_code,
            f"No route has the path {path:.200}; /docs lists the routes.",
        )
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": _allowed(request)}
        if method == "OPTIONS":
            return Response(status_code=204, headers=headers)
        code = "method_not_allowed"
        detail = f"{path:.200} does not allow {method:.20}; use {headers['Allow']}."
    elif error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        code, detail = TooLargeError.default_code, error.detail
    else:
        code, detail = (
            BadRequestError.default_code,
            f"The request cannot be parsed: {error.detail}.",
        )
    return problem_response(error.status_code, code, detail, _request_id(request), headers=headers)


def _has_extra_slash(request: Request) -> bool:
    """Whether a route has the path without the slash at its end."""
    scope = {**request.scope, "path": request.scope["path"].removesuffix("/")}
    return scope["path"] not in {"", request.scope["path"]} and any(
        route.matches(scope)[0] is Match.FULL for route in request.app.routes
    )


def _allowed(request: Request) -> str:
    """All methods of a path, from all of its routes (RFC 9110, 10.2.1)."""
    allowed = {"OPTIONS"}
    for method in ("GET", "PUT", "POST", "PATCH", "DELETE"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            allowed.add(method)
    return ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))


def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    problem = InvalidError.fields(
        field_errors(error.errors(), None)
    )  # of the path, query or headers
    return as_response(problem, _request_id(request))
