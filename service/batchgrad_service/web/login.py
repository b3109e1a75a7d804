"""/login and /logout: the token once, then a cookie."""

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from batchgrad_service.http.links import below_root
from batchgrad_service.http.middleware import client_of
from batchgrad_service.routes.dependencies import ServicesDep
from batchgrad_service.web.forms import form_fields
from batchgrad_service.web.rendering import PageRoute, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/login")
def read_login(services: ServicesDep, request: Request) -> Response:
    """Ask for the token; without one there is nothing to ask."""
    there = _own_path(request.query_params.get("next", "/"))
    if services.authenticator is None:
        return RedirectResponse(below_root(there), 303)
    return page("login.html", services, next=there, wrong=False)


@router.post("/login")
async def log_in(services: ServicesDep, request: Request) -> Response:
    """Exchange the token for the cookie."""
    fields = await form_fields(request)
    there = _own_path(fields.get("next", "/"))
    if services.authenticator is None:
        return RedirectResponse(below_root(there), 303)
    if not services.authenticator.token_matches(fields.get("token", ""), client_of(request.scope)):
        return page("login.html", services, 401, next=there, wrong=True)
    answer = RedirectResponse(below_root(there), 303)
    services.authenticator.log_in(answer, secure=request.url.scheme == "https")
    return answer


@router.post("/logout")
def log_out(services: ServicesDep, request: Request) -> Response:
    """End the session, and take the cookie back."""
    answer = RedirectResponse(below_root("/login"), 303)
    if services.authenticator is not None:
        services.authenticator.log_out(request.headers.get("cookie", ""), answer)
    return answer


def _own_path(path: str) -> str:
    r"""`path`, if it stays on this service; browsers read //host and /\host as other hosts."""
    stays = path.startswith("/") and path[1:2] not in {"/", "\\"} and path.isprintable()
    return path if stays and ".." not in path.partition("?")[0].split("/") else "/"
