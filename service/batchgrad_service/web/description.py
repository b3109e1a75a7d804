"""/docs: the HTTP interface as a page, from the OpenAPI description."""

import re
from collections import defaultdict
from collections.abc import Iterable

from fastapi import APIRouter, Request, Response
from markupsafe import Markup, escape

from batchgrad.contract import LOSSES
from batchgrad.display.formulas import ACCURACY, CONVENTIONS, LOSS_SCALE
from batchgrad_service.routes import docs
from batchgrad_service.routes.dependencies import ServicesDep
from batchgrad_service.web.rendering import PageRoute, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/docs")
def read_docs(services: ServicesDep, request: Request) -> Response:
    """Every route with its parameters, body and responses; losses, figures and schemas."""
    openapi = request.app.openapi()
    return page(
        "docs.html",
        services,
        about=openapi["info"]["description"],
        routes=_by_resource(docs.routes(openapi)),
        schemas=list(docs.schemas(openapi)),
        figures=docs.figures(),
        losses=LOSSES,
        texts=(LOSS_SCALE, ACCURACY, CONVENTIONS),
        prose=_prose,
        coded=_coded,
    )


def _by_resource(routes: Iterable[docs.Entry]) -> dict[str, list[docs.Entry]]:
    """Routes by the first word of their paths, such as jobs; service without /v1."""
    grouped = defaultdict[str, list[docs.Entry]](list)
    for route in routes:
        found = re.search(r"/v1/(\w+)", route.heading)
        grouped[found[1] if found else "service"].append(route)
    return grouped


def _prose(text: str) -> Markup:
    """Paragraphs, with `code` as code."""
    paragraphs = str(escape(text)).split("\n\n")
    return Markup("").join(_coded(f"<p>{one}</p>") for one in paragraphs)


def _coded(html: str) -> Markup:
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", html))  # noqa: S704 - it is HTML
