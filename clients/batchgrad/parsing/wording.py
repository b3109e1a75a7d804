"""Words of messages: pydantic's errors in plain words, values and lists of names, shortened."""

import reprlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from batchgrad import contract
from batchgrad.contract.wire import NAME_PATTERN, SHA256_PATTERN
from batchgrad.parsing.suggestions import about_layer, suggest

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 60
_SHOWN.maxdict = _SHOWN.maxlist = 4
_SHOWN.maxlevel = 3

_ONE_KIND: dict[str, str] = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "int_parsing_size": "an integer of at most 64 bits",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_unicode": "text without halves of characters (lone surrogates)",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
}
_LIMITS: dict[str, str] = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "literal_error": "{expected}",
}
_PATTERNS: dict[str, str] = {
    NAME_PATTERN: "letters, digits, '.', '_' and '-', a letter or digit first",
    SHA256_PATTERN: "sha256: and 64 hexadecimal digits",
}
_FOLLOWS = {"in_features", "in_channels", "normalized_shape"}  # keys of other libraries
_DATA = {"inputs", "targets", "weights"}


def expected(finding: Mapping[str, Any]) -> str:
    """What the field takes, to follow "expected"; pydantic's own words if we have none."""
    kind, context, value = finding["type"], finding.get("ctx", {}), finding.get("input")
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return "an integer, without a decimal point"
    if kind in _ONE_KIND:
        return _ONE_KIND[kind]
    if kind in _LIMITS:
        return _LIMITS[kind].format(**context).replace("'", "")
    if kind == "string_pattern_mismatch" and context.get("pattern") in _PATTERNS:
        return _PATTERNS[context["pattern"]]
    words = str(finding["msg"]).removeprefix("Input should be ").rstrip(".")
    return words[:1].lower() + words[1:]


def short_repr(value: Any) -> str:
    """A value as JSON and YAML write it, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _SHOWN.repr(value)


def listed(names: Sequence[str], most: int = 10) -> str:
    """Names in a sentence: "a, b and 3 more" if there are more than `most`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def unknown_kind(kind: Any, known: Sequence[str], *, layer: bool) -> str:
    """The message for an unknown kind of layer, optimizer or schedule."""
    message = f"got {short_repr(kind)}; expected one of {', '.join(known)}"
    if layer and (advice := about_layer(kind)):
        return f"{message}: {advice}."
    guess = suggest(kind, known)
    return f"{message}." if guess is None else f"{message}: did you mean {guess}?"


def unknown_key(name: str, location: Sequence[str | int], body: type[BaseModel]) -> str:
    """The message for an unknown key; `location` is pydantic's location of its parent in `body`."""
    refused = f"unknown key {name!r:.80}"
    job = list(location) == ["body"] and body is contract.JobSpec
    if job and name in _DATA:
        return f"{refused}: {name} belong in the dataset's npz."
    if name in _FOLLOWS:
        return f"{refused}: remove it; it follows from the data and the previous layers."
    keys = _KEYS | {"body": list(body.model_fields)}
    known = next((keys[part] for part in reversed(location) if part in keys), [])
    below = _BELOW if job else {}
    if guess := suggest(name, [*known, *below]):
        return f"{refused}: did you mean {below.get(guess, guess)}?"
    if known:
        return f"{refused}: remove it, or use one of {', '.join(known)}."
    return f"{refused}: remove it, or check its spelling."


def _keys() -> dict[str | int, list[str]]:
    """The keys of each object, by the part of pydantic's location that names it."""
    kinds = {**contract.LAYERS, **contract.OPTIMIZERS, **contract.SCHEDULES}
    keys: dict[str | int, list[str]] = {
        kind: list(model.model_fields) for kind, model in kinds.items()
    }
    objects: dict[str, type[BaseModel]] = {}
    _add_objects(contract.JobSpec, objects)
    return {name: list(model.model_fields) for name, model in objects.items()} | keys


def _add_objects(model: type[BaseModel], objects: dict[str, type[BaseModel]]) -> None:
    """Add the objects inside of a model by their key, and by their class, as unions name them."""
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            objects[name] = inner
            if inner.__name__ not in objects:  # a residual layer has layers
                objects[inner.__name__] = inner
                _add_objects(inner, objects)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type: of X | None and list[X] X."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _models(one)


def _below() -> dict[str, str]:
    """Nested keys of a job's spec, by name: learning_rate is optimizer.learning_rate."""
    objects: dict[str, Collection[type[BaseModel]]] = {
        "privacy": [contract.Privacy],
        "early_stopping": [contract.EarlyStopping],
        "optimizer.schedule": contract.SCHEDULES.values(),
        "optimizer": contract.OPTIMIZERS.values(),
        "model": [contract.Model],
    }
    return {
        name: f"{place}.{name}"
        for place, kinds in objects.items()
        for kind in kinds
        for name in kind.model_fields
        if name != "kind"
    }


_KEYS = _keys()
_BELOW = _below()
