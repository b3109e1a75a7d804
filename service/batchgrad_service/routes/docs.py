"""The OpenAPI description as entries for pages: routes, schemas, figures."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

from batchgrad.contract import FIGURES
from batchgrad.display import schema_fields
from batchgrad.display.docstrings import restore


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
