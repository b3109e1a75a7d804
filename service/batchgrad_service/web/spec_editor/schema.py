"""The JSON schema of a job's spec, as the form and the completion read it."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from batchgrad.contract import LOSSES, JobSpec
from batchgrad_service.web.spec_editor.nodes import Path

Schema = Mapping[str, Any]


@cache
def root() -> Schema:
    """The schema of a spec."""
    return JobSpec.model_json_schema()


def resolved(schema: Schema) -> Schema:
    """The schema that a reference names, with what stands beside the reference."""
    if "$ref" not in schema:
        return schema
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**root()["$defs"][schema["$ref"].rsplit("/", 1)[-1]], **beside}


def members(schema: Schema) -> list[Schema]:
    """The schemas that a value may follow, null excepted; kinds of a union are one of them."""
    schema = resolved(schema)
    each = schema.get("anyOf", [schema])
    return [resolved(one) for one in each if one.get("type") != "null"]


def object_of(schema: Schema) -> Schema | None:
    """The member that has keys of its own, or kinds of objects; None if there is none."""
    return next((one for one in members(schema) if "properties" in one or "oneOf" in one), None)


def kinds(schema: Schema) -> dict[str, Schema]:
    """The kinds of a union by their names, in the contract's order; {} of what is no union."""
    union = object_of(schema) or {}
    each = [resolved(one) for one in union.get("oneOf", [])]
    return {one["properties"]["kind"]["const"]: one for one in each}


def words(schema: Schema) -> list[str]:
    """The words that a value may be, true and false of a truth value."""
    found: list[str] = []
    for one in members(schema):
        found += [str(word) for word in one.get("enum", [one["const"]] if "const" in one else [])]
        found += ["true", "false"] if one.get("type") == "boolean" else []
    return found


def properties(schema: Schema, value: Any) -> dict[str, Schema]:
    """The schemas of an object's keys; of a union's those of the kind that `value` has."""
    found = object_of(schema) or {}
    if "oneOf" not in found:
        return dict(found.get("properties", {}))
    known = kinds(found)
    kind = value.get("kind") if isinstance(value, dict) else None
    chosen = known.get(kind, {}) if isinstance(kind, str) else {}
    others = {key: one for key, one in chosen.get("properties", {}).items() if key != "kind"}
    ordered = sorted(others.items(), key=lambda item: (is_complex(item[1]), is_optional(item[1])))
    return {"kind": {"enum": list(known), "description": "which of these"}, **dict(ordered)}


def is_complex(schema: Schema) -> bool:
    """Whether a value has parts of its own that the form shows one by one."""
    return object_of(schema) is not None or object_of(items(schema) or {}) is not None


def is_optional(schema: Schema) -> bool:
    """Whether a value may be null."""
    return {"type": "null"} in schema.get("anyOf", [])


def items(schema: Schema) -> Schema | None:
    """The schema of a list's items; None of what is no list."""
    return next((one["items"] for one in members(schema) if "items" in one), None)


def required(schema: Schema) -> frozenset[str]:
    """The keys that an object must have."""
    return frozenset(schema.get("required", ()))


def at(path: Path, value: Any) -> Schema | None:
    """The schema of what is at a path of a spec, which has the value `value`."""
    schema = root()
    for part in path:
        found = items(schema) if isinstance(part, int) else properties(schema, value).get(part)
        if found is None:
            return None
        schema, value = found, _child(value, part)
    return schema


def _child(value: Any, part: str | int) -> Any:
    try:
        return value[part]
    except (LookupError, TypeError):
        return None


def meaning(word: str, key: str | int) -> str:
    """What a word says where it is the value of `key`: a kind's first line, a loss's formula."""
    if key == "loss":
        return LOSSES[word].formula if word in LOSSES else ""
    if key == "kind":
        return next((first_line(one) for name, one in _all_kinds() if name == word), "")
    return ""


def first_line(schema: Schema) -> str:
    """What a schema describes, in a line."""
    return str(schema.get("description", "")).partition("\n")[0]


def _all_kinds() -> Iterator[tuple[str, Schema]]:
    for one in root()["$defs"].values():
        kind = one.get("properties", {}).get("kind", {})
        if "const" in kind:
            yield kind["const"], one


_FIRST = {
    "out_features": 64,
    "out_channels": 16,
    "kernel_size": 3,
    "learning_rate": 0.01,
    "every": 1000,
    "delta": 1e-5,
    "match": "*.bias",
    "layers": [{"kind": "relu"}],
}
"""First values of keys that need one, where the least that is allowed would hardly be meant."""

_FIRST_OBJECTS = {
    "privacy": {"epsilon": 2, "delta": 1e-5, "clip_norm": 1, "validation": "public"},
    "validation": {"fraction": 0.2},
    "initial_parameters": {"job": "ID of a job"},
    "groups": {"match": "*.bias", "weight_decay": 0},
}


def first(schema: Schema, key: str | int, kind: str | None = None) -> Any:
    """A value to start from, with the keys that it needs."""
    known = kinds(schema)
    if not known and key in _FIRST_OBJECTS:
        return _FIRST_OBJECTS[str(key)]
    if not known and key in _FIRST:
        return _FIRST[str(key)]
    found = known[kind or next(iter(known))] if known else members(schema)[0]
    if "properties" in found:
        return {
            name: first(one, name)
            for name, one in found["properties"].items()
            if name in required(found)
        }
    return _least(found)


def _least(schema: Schema) -> Any:
    if choice := words(schema):
        return choice[0]
    if schema.get("type") in {"integer", "number"}:
        return schema.get("minimum", 1)
    return [] if schema.get("type") == "array" else "name"
