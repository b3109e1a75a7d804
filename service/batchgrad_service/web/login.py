"""/login and /logout: exchange the token for a cookie, and end the login."""

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
    """The login form; a service without a token redirects to the page."""
    target = _own_path(request.query_params.get("next", "/"))
    if services.authenticator is None:
        return RedirectResponse(below_root(target), 303)
    return page("login.html", services, next=target, wrong=False)


@router.post("/login")
async def log_in(services: ServicesDep, request: Request) -> Response:
    """Exchange the token for a cookie."""
    fields = await form_fields(request)
    target = _own_path(fields.get("next", "/"))
    if services.authenticator is None:
        return RedirectResponse(below_root(target), 303)
    if not services.authenticator.token_matches(fields.get("token", ""), client_of(request.scope)):
        return page("login.html", services, 401, next=target, wrong=True)
    response = RedirectResponse(below_root(target), 303)
    services.authenticator.log_in(response, secure=request.url.scheme == "https")
    return response


@router.post("/logout")
def log_out(services: ServicesDep, request: Request) -> Response:
    """End the login and delete the cookie."""
    response = RedirectResponse(below_root("/login"), 303)
    if services.authenticator is not None:
        services.authenticator.log_out(request.headers.get("cookie", ""), response)
    return response


def _own_path(path: str) -> str:
    r"""`path` if it is on this service, else "/". For browsers //x and /\x are other hosts."""
    stays = path.startswith("/") and path[1:2] not in {"/", "\\"} and path.isprintable()
    return path if stays and ".." not in path.partition("?")[0].split("/") else "/"
