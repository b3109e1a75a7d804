"""/docs: the OpenAPI description as one HTML page, without scripts or files of other hosts."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from batchgrad.contract import FIGURES, LOSSES
from batchgrad.display import schema_fields
from batchgrad.display.docstrings import restore
from batchgrad.display.formulas import ACCURACY, CONVENTIONS, LOSS_SCALE

router = APIRouter()
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{font-size:.95em}section{border-top:1px solid #8886;padding:.5rem 0}"
    "h2{font-size:1.05rem;margin:.4rem 0}p,ul{margin:.3rem 0}"
    ":root{color-scheme:light dark}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (  # allows this style sheet only
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@router.get("/docs", include_in_schema=False)
def read_docs(request: Request) -> HTMLResponse:
    """Every route with its parameters, body and responses."""
    return HTMLResponse(render(request.app.openapi()), headers={"Content-Security-Policy": _POLICY})


def keep_descriptions(router: APIRouter) -> None:
    """Read the routes' descriptions from the source files if Python drops docstrings (-OO)."""
    for route in router.routes:
        if isinstance(route, APIRoute) and not route.description:
            restore(route.endpoint)
            route.description = route.endpoint.__doc__ or ""


@dataclass(frozen=True)
class Entry:
    """A route or a schema: `items` are HTML, all else is text."""

    heading: str
    text: str
    items: list[str]
    anchor: str = ""


def render(openapi: dict[str, Any]) -> str:
    """An OpenAPI description as HTML."""
    title = escape(f"{openapi['info']['title']} {openapi['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><h1>{title}</h1><p>{escape(openapi['info']['description'])} "
        f'The same as JSON: <a href="openapi.json">/openapi.json</a>. Tutorial, recipes and '
        f'explanations: <a href="guide/">the guide</a>.</p>'
        f"{''.join(map(_section, routes(openapi)))}{_losses()}"
        f"<h1>Figures of a step</h1>{_section(figures())}"
        f"<h1>Schemas</h1>{''.join(map(_section, schemas(openapi)))}</html>"
    )


def routes(openapi: dict[str, Any]) -> Iterator[Entry]:
    """Every route: method, path, parameters, bodies, responses."""
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            text = operation.get("description", "")
            yield Entry(f"{method.upper()} {path}", text, list(_route(operation)))


def schemas(openapi: dict[str, Any]) -> Iterator[Entry]:
    """Every schema: its fields, each with type, default and description."""
    found = openapi.get("components", {}).get("schemas", {})
    for name, schema in sorted(found.items()):
        required = set(schema.get("required", []))
        items = [
            f"<code>{escape(key)}</code> {_type(value)}{_default(value, required=key in required)}"
            f" {escape(value.get('description', ''))}"
            for key, value in schema.get("properties", {}).items()
        ]
        yield Entry(name, schema.get("description", ""), items, anchor=name)


def figures() -> Entry:
    """The figures of a step."""
    items = [
        f"<code>{escape(figure.name)}</code> {escape(figure.text)} "
        f"In Prometheus: <code>batchgrad_job_{escape(figure.metric)}</code>."
        for figure in FIGURES.values()
    ]
    text = "In every step's row; those of the newest step are the job's."
    return Entry("", text, items, anchor="figures")


def _route(operation: dict[str, Any]) -> Iterator[str]:
    for given in operation.get("parameters", []):
        yield (
            f"<code>{escape(given['name'])}</code> ({given['in']}) {_type(given['schema'])}"
            f"{_default(given['schema'], required=given.get('required', False))}"
            f" {escape(given.get('description', ''))}"
        )
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"body: <code>{escape(kind)}</code> {_type(body['schema'])}"
    for status, answer in operation["responses"].items():
        for kind, body in answer.get("content", {"nothing": {"schema": {}}}).items():
            yield (
                f"response {escape(status)}: <code>{escape(kind)}</code> "
                f"{_type(body.get('schema', {}))}"
            )


def _section(entry: Entry) -> str:
    anchor = f' id="{escape(entry.anchor)}"' if entry.anchor else ""
    heading = f"<h2><code>{escape(entry.heading)}</code></h2>" if entry.heading else ""
    items = "".join(f"<li>{item}</li>" for item in entry.items)
    return f"<section{anchor}>{heading}<p>{escape(entry.text)}</p><ul>{items}</ul></section>"


def _losses() -> str:
    items = "".join(
        f"<li><code>{escape(name)}</code> {escape(kind.formula)}. Targets "
        f"{kind.target_shape}: {escape(kind.targets)}.</li>"
        for name, kind in LOSSES.items()
    )
    return (
        f'<h1>Losses</h1><section id="losses"><p>{escape(LOSS_SCALE)}</p><ul>{items}</ul>'
        f"<p>{escape(ACCURACY)}</p><p>{escape(CONVENTIONS)}</p></section>"
    )


def _default(schema: dict[str, Any], *, required: bool) -> str:
    if required:
        return ", <b>required</b>."
    value = schema_fields.default(schema)
    return ", optional." if value == "none" else f", default {escape(value)}."


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(_type(member) for member in schema[union])
    if "const" in schema or "enum" in schema:
        return escape(" | ".join(map(str, schema.get("enum", [schema.get("const")]))))
    if "prefixItems" in schema:
        return f"pair of {_type(schema['prefixItems'][0])}"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(f"{schema.get('type', '')} {schema_fields.bounds(schema)}".rstrip())
