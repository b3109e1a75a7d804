"""Completions at a place of a spec's text: keys, words, kinds and datasets."""

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from yaml.nodes import MappingNode, Node, SequenceNode

from batchgrad.parsing.documents import SyntaxFault, compose, parse_yaml
from batchgrad_service.web.spec_editor import schema
from batchgrad_service.web.spec_editor.nodes import Path, find
from batchgrad_service.web.spec_editor.writing import written

_MARK = "hereIsTheCursor"
_IN_WORDS = string.ascii_letters + string.digits + "_"
_CLOSING = {"{": "}", "[": "]"}
_DATASETS: tuple[Path, ...] = (("dataset",), ("validation", "dataset"))
MOST = 40


@dataclass(frozen=True)
class Option:
    """Something that may be typed: its name, the text to insert, and what it means."""

    name: str
    insert: str
    meaning: str


@dataclass(frozen=True)
class Completion:
    """Options for the word whose first `typed` characters stand before the cursor."""

    typed: int
    options: list[Option]


def complete(before: str, after: str, datasets: Sequence[tuple[str, str]] = ()) -> Completion:
    """What may stand at the cursor, between `before` and `after`; names of `datasets` too."""
    head, tail = before.rstrip(_IN_WORDS + ".-"), after.lstrip(_IN_WORDS)
    word = before[len(head) :]
    line = head.rpartition("\n")[2]
    found = None if re.search(r"(^|\s)#", line) else _place(head, tail)
    options = [] if found is None else _options(found, line, tail, datasets)
    lower = word.lower()
    chosen = [one for one in options if one.name.lower().startswith(lower)]
    chosen += [one for one in options if lower in one.name.lower() and one not in chosen]
    return Completion(len(word), chosen[:MOST])


@dataclass(frozen=True)
class _Place:
    """Where the cursor is: at a key of the object at `path`, or at the value at `path`."""

    path: Path
    is_key: bool
    value: Any
    keys: frozenset[str]


def _place(head: str, tail: str) -> _Place | None:
    for text in _texts(head, tail):
        try:
            root, value = compose(text), parse_yaml(text)
        except SyntaxFault:
            continue
        for path, is_key in _marked(root, ()):
            parent = find(root, path)
            pairs = parent.value if isinstance(parent, MappingNode) else []
            return _Place(path, is_key, value, frozenset(str(key.value) for key, _ in pairs))
    return None


def _texts(head: str, tail: str) -> Iterator[str]:
    """The text with a mark at the cursor, as a value or as a key; then without what follows."""
    closing: list[str] = []
    for one in re.sub(r"#.*|\"[^\"\n]*\"|'[^'\n]*'", "", head):
        if one in _CLOSING:
            closing.append(_CLOSING[one])
        elif closing and one == closing[-1]:
            closing.pop()
    for rest in (tail, "".join(reversed(closing))):
        yield f"{head}{_MARK}{rest}"
        yield f"{head}{_MARK}: 0{rest}"


def _marked(node: Node | None, path: Path) -> Iterator[tuple[Path, bool]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == _MARK:
                yield path, True
            yield from _marked(value, (*path, str(key.value)))
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield from _marked(value, (*path, index))
    elif node is not None and node.value == _MARK:
        yield path, False


def _options(
    place: _Place, line: str, tail: str, datasets: Sequence[tuple[str, str]]
) -> list[Option]:
    found = schema.at(place.path, place.value)
    if found is None:
        return []
    if place.path in _DATASETS and not place.is_key:
        return [Option(name, written(name), meaning) for name, meaning in datasets]
    known, key = schema.kinds(found), place.path[-1] if place.path else ""
    starts_object = line.strip() in {"", "-"} and not (known and isinstance(key, int))
    if place.is_key or (starts_object and schema.object_of(found)):
        return _keys(found, place, "" if tail.startswith(":") else ": ")
    if known:
        return [
            Option(kind, written(schema.first(found, key, kind)), schema.meaning(kind, "kind"))
            for kind in known
        ]
    return [Option(word, word, schema.meaning(word, key)) for word in schema.words(found)]


def _keys(found: schema.Schema, place: _Place, colon: str) -> list[Option]:
    value = place.value
    for part in place.path:
        value = value[part]
    return [
        Option(key, key + colon, str(one.get("description", "")))
        for key, one in schema.properties(found, value).items()
        if key not in place.keys
    ]
