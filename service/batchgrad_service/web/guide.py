"""/guide: the built guide, from the folder into which `make docs` writes it."""

from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.staticfiles import StaticFiles

from batchgrad_service.problems import NotFoundError
from batchgrad_service.routes.dependencies import ServicesDep
from batchgrad_service.web.rendering import HEADERS, PageRoute, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)
SITE = Path(__file__).parent / "site"
POLICY_FILE = "content-security-policy.txt"
"""In the built guide: the policy that its inline code needs (docs/generate/policy.py)."""


@router.get("/guide")
def redirect_to_guide() -> Response:
    """Redirect to /guide/, below which the guide's links are."""
    return RedirectResponse("guide/", 307)


@router.get("/guide/{path:path}")
async def read_guide(path: str, services: ServicesDep, request: Request) -> Response:
    """One file of the guide; a page that says how to build it if it was not built."""
    policy = services.guide / POLICY_FILE
    if not policy.is_file():
        return page("no_guide.html", services, 404)
    if path.endswith("/") or not path:
        path += "index.html"
    try:
        response = await StaticFiles(directory=services.guide).get_response(path, request.scope)
    except HTTPException as error:
        raise NotFoundError(f"The guide has no file {path!r:.100}.") from error
    response.headers.update(HEADERS)
    response.headers["Content-Security-Policy"] = policy.read_text(encoding="utf-8")
    response.headers["Cache-Control"] = "no-cache"  # another version has the same names
    return response
