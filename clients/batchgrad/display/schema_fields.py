"""Describe the fields of a JSON schema: type, range, default. For /docs and help."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]
_MOST_KINDS = 8
"""Members of a union that are named; the layers have a list of their own."""


@dataclass(frozen=True)
class Described:
    """One field: `takes` is its type and range, `default` is None for a required field."""

    name: str
    takes: str
    default: str | None
    about: str


def fields(schema: Schema, definitions: Schema) -> Iterator[Described]:
    """The fields of an object's schema, without the constant `kind`."""
    if "$ref" in schema:  # a type that contains itself
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        if "const" in field:
            continue
        yield Described(
            name,
            takes(field, definitions),
            None if name in required else default(field),
            field.get("description", ""),
        )


def default(field: Schema) -> str:
    """The default as YAML writes it; "none" without one."""
    value = field.get("default")
    if isinstance(value, Mapping) and "kind" in value:
        return str(value["kind"])
    return "none" if value in (None, {}) else json.dumps(value).strip('"')


def takes(field: Schema, definitions: Schema) -> str:
    """What a field takes, in words."""
    for union in ("anyOf", "oneOf"):
        if union in field:
            members = [one for one in field[union] if one.get("type") != "null"]
            words = dict.fromkeys(takes(member, definitions) for member in members)
            return "{kind: KIND, …}" if len(words) > _MOST_KINDS else " or ".join(words)
    match field:
        case {"$ref": reference}:
            name = reference.rsplit("/", 1)[-1]
            return _object(name, definitions.get(name, {}))
        case {"enum": _} | {"const": _}:
            return " | ".join(map(str, field.get("enum", [field.get("const")])))
        case {"prefixItems": _}:
            return "a pair of them"
        case {"type": "array"}:
            return f"list of {takes(field.get('items', {}), definitions)}".removesuffix(" of ")
    return " ".join(filter(None, [_TYPES.get(field.get("type", ""), ""), bounds(field)]))


def bounds(field: Schema) -> str:
    """The range of a number; "" if it has none."""
    low, high = _plain(field.get("minimum")), _plain(field.get("maximum"))
    if low and high:
        return f"{low} to {high}"
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    lower = f"≥ {low}" if low else f"> {_plain(above)}" if above is not None else ""
    upper = f"≤ {high}" if high else ""
    if below is not None and below < 2**31:  # larger bounds only keep it within 64 bits
        upper = f"< {_plain(below)}"
    return ", ".join(filter(None, [lower, upper]))


def _plain(value: float | None) -> str:
    """A bound without ".0"."""
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else str(value)


def _object(name: str, schema: Schema) -> str:
    """An object in words: its kind, or its keys."""
    properties = schema.get("properties", {})
    if "const" in properties.get("kind", {}):
        return str(properties["kind"]["const"])
    return "{" + ", ".join(properties) + "}" if properties else name


_TYPES = {
    "integer": "integer",
    "number": "number",
    "boolean": "true | false",
    "string": "text",
    "object": "keys and values",
}
