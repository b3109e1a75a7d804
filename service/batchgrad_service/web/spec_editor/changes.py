"""Changes of a spec's text, one for each action on a field of the form."""

from collections.abc import Callable
from typing import Any

from batchgrad.parsing.documents import parse_yaml
from batchgrad_service.web.spec_editor import edits, schema
from batchgrad_service.web.spec_editor.fields import path_of
from batchgrad_service.web.spec_editor.nodes import Path, RefusedEditError
from batchgrad_service.web.spec_editor.writing import typed, written

_INSTEAD: dict[Path, Path] = {
    ("epochs",): ("steps",),
    ("steps",): ("epochs",),
    ("validation",): ("validation_fraction",),
    ("validation_fraction",): ("validation",),
}
"""Keys of which a spec has one: setting the first removes the other."""

_MODELS = {
    "layers": "\n  layers:\n    - {kind: linear, out_features: 64}\n    - {kind: relu}\n"
    "    - {kind: linear, out_features: 10}",
    "torch": "\n  torch: package.module:function",
}


def change(text: str, action: str, pointer: str, value: str) -> str:
    """The text after a user's action on the field of a pointer.

    Raises:
        RefusedEditError: there is no such action, or the text cannot be changed there.
    """
    if action not in _ACTIONS:
        raise RefusedEditError(f"There is no action {action!r:.40}: reload the page.")
    path = path_of(pointer)
    if not path:
        raise RefusedEditError("There is no field without a key: reload the page.")
    data = parse_yaml(text)
    if schema.at(path, data) is None:
        raise RefusedEditError(f"A spec has no {path[-1]!r:.40} there: reload the page.")
    return _ACTIONS[action](text, path, value, data)


def _set(text: str, path: Path, value: str, data: Any) -> str:
    """Set what was typed or chosen; nothing removes the key."""
    if not value.strip():
        return _remove(text, path, value, data)
    found = schema.at(path, data) or {}
    is_text = {one.get("type") for one in schema.members(found)} == {"string"}
    made = edits.put(text, path, written(value) if is_text else typed(value), _order(path, data))
    other = _INSTEAD.get(path)
    return edits.remove(made, other) if other and _at(data, other) is not None else made


def _remove(text: str, path: Path, _: str, data: Any) -> str:
    return text if _at(data, path) is None else edits.remove(text, path)


def _add(text: str, path: Path, kind: str, data: Any) -> str:
    """Add an object that is absent, or an item to a list."""
    found = schema.at(path, data) or {}
    items = schema.items(found)
    if items is not None:
        return edits.append(text, path, written(_first(items, path, kind)))
    return _set(text, path, written(_first(found, path, kind)), data)


def _kind(text: str, path: Path, kind: str, data: Any) -> str:
    """Make an object one of another kind; only keys of the old kind alone go."""
    now = _at(data, path)
    if not kind:
        return _remove(text, path, kind, data)
    union = schema.at(path, data) or {}
    wanted = _first(union, path, kind)
    if not isinstance(now, dict):
        return edits.put(text, path, written(wanted), _order(path, data))
    old, known = schema.properties(union, now), schema.properties(union, wanted)
    text = edits.put(text, (*path, "kind"), kind)
    for key in old:  # not those that no kind has: an error names them, and there may be many
        if key in now and key not in known:
            text = edits.remove(text, (*path, key))
    for key, value in wanted.items():
        if key not in now:
            text = edits.put(text, (*path, key), written(value), list(known))
    return text


def _first(found: schema.Schema, path: Path, kind: str) -> Any:
    """A value to start from; of a union one of a kind, the first if `kind` is ""."""
    if kind and kind not in schema.kinds(found):
        raise RefusedEditError(f"There is no kind {kind!r:.40}: reload the page.")
    return schema.first(found, path[-1], kind or None)


def _word(text: str, path: Path, word: str, data: Any) -> str:
    """Put a word into a list of words, or take it out."""
    found = _at(data, path)
    now = found if isinstance(found, list) else []
    chosen = [one for one in now if one != word] if word in now else [*now, word]
    allowed = schema.words(schema.items(schema.at(path, data) or {}) or {})
    ordered = sorted(chosen, key=lambda one: allowed.index(one) if one in allowed else 0)
    return edits.put(text, path, written(ordered), _order(path, data))


def _up(text: str, path: Path, _: str, __: Any) -> str:
    return edits.swap(text, path[:-1], _index(path) - 1)


def _down(text: str, path: Path, _: str, __: Any) -> str:
    return edits.swap(text, path[:-1], _index(path))


def _index(path: Path) -> int:
    if isinstance(path[-1], int):
        return path[-1]
    raise RefusedEditError(f"There is no item {path[-1]!r:.40} of a list: reload the page.")


def _model(text: str, path: Path, kind: str, _: Any) -> str:
    if kind not in _MODELS:
        raise RefusedEditError(f"There is no model of {kind!r:.40}: reload the page.")
    return edits.put(text, path, _MODELS[kind])


_ACTIONS: dict[str, Callable[[str, Path, str, Any], str]] = {
    "set": _set,
    "remove": _remove,
    "add": _add,
    "kind": _kind,
    "word": _word,
    "up": _up,
    "down": _down,
    "model": _model,
}


def _order(path: Path, data: Any) -> list[str]:
    """The keys of the object that holds a path's, in the contract's order."""
    parent = schema.at(path[:-1], data)
    return [] if parent is None else list(schema.properties(parent, _at(data, path[:-1])))


def _at(data: Any, path: Path) -> Any:
    try:
        for part in path:
            data = data[part]
    except (LookupError, TypeError):
        return None
    return data
