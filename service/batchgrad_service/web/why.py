"""/why: the guide's page on averaging errors in the service's own look, guide built or not."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urljoin

from fastapi import APIRouter, Response
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from batchgrad_service.http.links import ROOT
from batchgrad_service.routes.dependencies import ServicesDep
from batchgrad_service.web.rendering import PageRoute, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)
SOURCE = Path(__file__).parent / "why.md"
"""A link to the guide's own file; in `static` are links to its figures."""

_SCROLLED = '<div class="wide" tabindex="0" role="region" aria-label="Table"><table>'


@router.get("/why")
def read_why(services: ServicesDep) -> Response:
    """Why errors may not be averaged before they are backpropagated."""
    text, contents = article(SOURCE.read_text(encoding="utf-8"), ROOT.get())
    return page("why.html", services, text=text, contents=contents)


def article(source: str, root: str) -> tuple[Markup, list[tuple[str, str]]]:
    """Markdown as HTML, and its sections' ids and titles; `root` is the link to the service."""
    reader = MarkdownIt("commonmark").enable("table")
    tokens = reader.parse(source)
    contents = list(_sections(tokens))
    for token in tokens:
        token.children = [new for child in token.children or [] for new in _linked(child, root)]
    html = reader.renderer.render(tokens, reader.options, {})
    html = html.replace("<table>", _SCROLLED).replace("</table>", "</table></div>")
    return Markup(html), contents  # noqa: S704 - our own text


def _sections(tokens: list[Token]) -> Iterator[tuple[str, str]]:
    """Give each section's heading an id."""
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.tag == "h2":
            name = re.sub(r"[^\w\- ]", "", inline.content).strip().lower().replace(" ", "-")
            opening.attrSet("id", name)
            yield name, inline.content


def _linked(token: Token, root: str) -> Iterator[Token]:
    """A figure from the service, with its text below it; a link to a page of the built guide."""
    yield token
    if token.type == "image":
        token.attrSet("src", f"{root}static/{str(token.attrs['src']).rsplit('/', 1)[-1]}")
        caption = f'<span class="caption" aria-hidden="true">{escape(token.content)}</span>'
        yield Token("html_inline", "", 0, content=caption)
    elif token.type == "link_open":
        target = urljoin("explanation/", str(token.attrs["href"]))
        token.attrSet("href", re.sub(r"^([\w/-]+)\.md(#|$)", rf"{root}guide/\1.html\2", target))
