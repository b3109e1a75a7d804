"""The fields of the form that a spec is, made from the contract's schema."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from batchgrad.contract.model import MOST_LAYERS
from batchgrad_service.web.spec_editor import schema
from batchgrad_service.web.spec_editor.nodes import Path
from batchgrad_service.web.spec_editor.schema import Schema
from batchgrad_service.web.spec_editor.writing import written

Control = Literal["text", "number", "yaml", "choice", "truth", "words", "object", "kinds", "list"]
"""`yaml` is text that is read as YAML; `words` are several of a few; `kinds` a union's object."""


@dataclass(frozen=True)
class Choice:
    """A value that a field may have, and what it means."""

    value: str
    meaning: str = ""


@dataclass(frozen=True)
class Field:
    """A key of a spec with its value, as a form shows it.

    `value` is text, of a union its kind; "" where the key is absent, which `default` then
    describes. `parts` are the fields of an object, or the items of a list, and `more` says how
    many items it has beyond; `bounds` are the attributes of a number's input.
    """

    pointer: str
    key: str
    control: Control
    value: str = ""
    present: bool = True
    required: bool = False
    default: str = ""
    help: str = ""
    choices: tuple[Choice, ...] = ()
    chosen: tuple[str, ...] = ()
    parts: tuple["Field", ...] = ()
    more: str = ""
    bounds: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The key as words."""
        words = self.key.replace("_", " ")
        return words[:1].upper() + words[1:]


def pointer(path: Path) -> str:
    """The RFC 6901 pointer to a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def path_of(text: str) -> Path:
    """The path of a pointer; numbers are indices."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]
    return tuple(int(part) if part.isdecimal() and len(part) < 10 else part for part in parts)


def of_spec(value: Any) -> dict[str, Field]:
    """The field of each key of a spec whose value is `value`, valid or not.

    They have the first `MOST_LAYERS` items of all lists together.
    """
    found, left = schema.root(), iter(range(MOST_LAYERS))
    return {
        key: _field((key,), one, value, left, required=key in schema.required(found))
        for key, one in schema.properties(found, value).items()
    }


def _field(path: Path, found: Schema, parent: Any, left: Iterator[int], *, required: bool) -> Field:
    key = path[-1]
    present = _has(parent, key)
    value = parent[key] if present else None
    made = Field(
        pointer(path),
        str(key),
        _control(found),
        value=_shown(value) if present else "",
        present=present,
        required=required,
        default=_default(found),
        help=_help(found),
        choices=_choices(found, key),
        bounds=_bounds(found),
    )
    if made.control == "number" and present and not isinstance(value, int | float):
        return replace(made, control="yaml")  # an input of numbers would show nothing
    if made.control == "words":
        return replace(made, chosen=tuple(map(str, value)) if isinstance(value, list) else ())
    if made.control == "kinds":
        kind = _shown(value.get("kind", "")) if isinstance(value, dict) else ""
        help_ = _help(schema.kinds(found).get(kind, {})) or made.help
        return replace(made, value=kind, help=help_, parts=_parts(path, found, value, left))
    if made.control == "object":
        return replace(made, parts=_parts(path, found, value, left))
    if made.control == "list" and isinstance(value, list):
        return _with_items(made, path, found, value, left)
    return made


def _with_items(
    made: Field, path: Path, found: Schema, value: list[Any], left: Iterator[int]
) -> Field:
    items = schema.items(found) or {}
    numbers = (at for at, _ in zip(range(len(value)), left, strict=False))
    parts = tuple(_field((*path, at), items, value, left, required=True) for at in numbers)
    beyond = len(value) - len(parts)
    more = f"{beyond:,} more in the YAML: the form shows {MOST_LAYERS} items in all."
    return replace(made, parts=parts, more=more if beyond else "")


def _has(parent: Any, key: str | int) -> bool:
    if isinstance(parent, dict):
        return parent.get(key) is not None
    return isinstance(parent, list) and isinstance(key, int)


def _parts(path: Path, found: Schema, value: Any, left: Iterator[int]) -> tuple[Field, ...]:
    known = schema.kinds(found)
    kind = value.get("kind") if isinstance(value, dict) else None
    own = known.get(str(kind), {}) if known else schema.object_of(found) or {}
    return tuple(
        _field((*path, key), one, value, left, required=key in schema.required(own))
        for key, one in schema.properties(found, value).items()
        if not (known and key == "kind")
    )


def _control(found: Schema) -> Control:
    each = schema.members(found)
    if schema.kinds(found):
        return "kinds"
    if {one.get("type") for one in each} == {"string"}:
        return "choice" if schema.words(found) else "text"
    return "yaml" if len(each) > 1 else _control_of_type(each[0])


def _control_of_type(found: Schema) -> Control:
    match found.get("type"):
        case "boolean":
            return "truth"
        case "integer" | "number":
            return "number"
        case "object" if "properties" in found:
            return "object"
        case "array" if schema.words(found["items"]):
            return "words"
        case "array" if schema.is_complex(found):
            return "list"
    return "yaml"


def _choices(found: Schema, key: str | int) -> tuple[Choice, ...]:
    """The words that a value, or a list's items, may be, or the kinds of a union."""
    for one in (found, schema.items(found) or {}):
        if known := schema.kinds(one):
            return tuple(Choice(kind, schema.first_line(each)) for kind, each in known.items())
        if words := schema.words(one):
            return tuple(Choice(word, schema.meaning(word, key)) for word in words)
    return ()


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else written(value)
    return text.encode(errors="replace").decode()  # "\ud800" in YAML is no character


def _default(found: Schema) -> str:
    default = found.get("default")
    if isinstance(default, dict):
        return str(default.get("kind", ""))
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default in (None, []) else _shown(default)


def _bounds(found: Schema) -> dict[str, Any]:
    one = schema.members(found)[0]
    if one.get("type") not in {"integer", "number"}:
        return {}
    bounds = {"min": one.get("minimum", one.get("exclusiveMinimum")), "max": one.get("maximum")}
    bounds["step"] = 1 if one["type"] == "integer" else "any"
    return {name: bound for name, bound in bounds.items() if bound is not None}


_LIMITS = {
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "to",
    "exclusiveMaximum": "below",
}


def _help(found: Schema) -> str:
    """What the value means, and the range of a number."""
    each = schema.members(found)
    limits = [f"{word} {each[0][name]}" for name, word in _LIMITS.items() if name in each[0]]
    default = _default(found)
    texts = [
        str(found.get("description") or each[0].get("description", "")).replace("\n\n", " "),
        " ".join(limits),
        f"default {default}" if default else "",
    ]
    return "; ".join(text.rstrip(".") for text in texts if text)
