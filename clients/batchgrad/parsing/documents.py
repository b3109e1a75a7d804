"""Parse YAML 1.2 (core schema) and JSON into a value, or raise an error with its line.

PyYAML reads YAML 1.1, where `on` is true, 1:30 is 90, 010 is 8, 1e-3 is text, and a duplicate key
replaces the first. This module gives its parser the core schema of YAML 1.2, section 10.3.2.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any

from yaml import MarkedYAMLError, YAMLError
from yaml.composer import Composer
from yaml.error import Mark
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

MOST_DEEP = 40
"""Levels of nested lists and mappings; a spec needs less than ten."""

MOST_REPEATED = 10_000
"""Values that aliases (*name) may repeat; without a limit a few lines could mean billions.

A text counts as one value for each 100 characters.
"""

MOST_DIGITS = 4300
"""Decimal digits of an integer; Python writes no more."""

_TAG = "tag:yaml.org,2002:"


class SyntaxFault(Exception):
    """A fault in a text; the message follows the text's name, `line` counts from 1."""

    def __init__(self, problem: str, mark: Mark | None = None) -> None:
        place = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        super().__init__(f"{problem}{place}")
        self.line = None if mark is None else mark.line + 1


def parse_yaml(text: str) -> Any:
    """The value of the YAML `text`: text, numbers, true, false, null, lists and dicts of them.

    Raises:
        SyntaxFault: not valid YAML, a duplicate key, a tag of another schema, or too many levels.
    """
    root = compose(text)
    return None if root is None else _value(root)


def compose(text: str) -> Node | None:
    """The nodes of the YAML `text`, each with its line; None for an empty text."""
    try:
        return _Reader(text).get_single_node()
    except MarkedYAMLError as error:
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise SyntaxFault(f"is not valid YAML: {problem}", error.problem_mark) from error
    except YAMLError as error:
        raise SyntaxFault(f"is not valid YAML: {' '.join(str(error).split())}") from error


def parse_json(text: str | bytes) -> Any:
    """The value of the JSON `text`.

    Raises:
        SyntaxFault: not valid JSON, a duplicate key, too many levels, or too many digits.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise SyntaxFault(f"is not valid JSON: {error.msg} at {place}") from error
    except RecursionError as error:
        raise SyntaxFault("is nested too deep") from error
    except ValueError as error:  # an integer of more than 4,300 digits, or bytes that are not UTF-8
        raise SyntaxFault(f"is not valid JSON: {error!s:.200}") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise SyntaxFault(f"has the key {key!r:.80} twice: remove one")
        made[key] = value
    return made


class _Reader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's parser with the core schema, and bounds on depth and aliases."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = self._values = self._repeated = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """One node with its children."""
        alias = self.check_event(AliasEvent)
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self._depth > MOST_DEEP:
            raise SyntaxFault(f"is nested more than {MOST_DEEP} levels deep", mark)
        self._depth += 1
        before = self._values
        self._values += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not alias:
            self._values += len(node.value) // 100 if isinstance(node, ScalarNode) else 0
            self._sizes[id(node)] = self._values - before
            return node
        if id(node) not in self._sizes:
            raise SyntaxFault("has an alias inside of the node that it repeats", mark)
        self._values += self._sizes[id(node)]
        self._repeated += self._sizes[id(node)]
        if self._repeated > MOST_REPEATED:
            raise SyntaxFault(f"has aliases that repeat more than {MOST_REPEATED} values", mark)
        return node


def _value(node: Node) -> Any:
    """The value of a node; a new copy for each alias that repeats it."""
    kind = node.tag.removeprefix(_TAG)
    if isinstance(node, ScalarNode):
        if kind not in _SCALARS:
            raise _unknown_tag(node)
        return _SCALARS[kind](node)
    if kind != ("map" if isinstance(node, MappingNode) else "seq"):
        raise _unknown_tag(node)
    if not isinstance(node, MappingNode):
        return [_value(item) for item in node.value]
    made: dict[Any, Any] = {}
    lines: dict[Any, int] = {}
    for key_node, value_node in node.value:
        key = _value(key_node)
        line = key_node.start_mark.line + 1
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise SyntaxFault("has a key that is neither text nor an integer", key_node.start_mark)
        if key in made:
            twice = f"has the key {key!r:.80} twice, at line {lines[key]} and again"
            raise SyntaxFault(twice, key_node.start_mark)
        made[key], lines[key] = _value(value_node), line
    return made


def _unknown_tag(node: Node) -> SyntaxFault:
    tag = node.tag.replace(_TAG, "!!")
    return SyntaxFault(
        f"has the tag {tag!r:.80}, which is not part of the core schema", node.start_mark
    )


_BEYOND = 10**MOST_DIGITS


def _integer(node: ScalarNode) -> int:
    base = {"0x": 16, "0o": 8}.get(node.value[:2], 10)
    try:
        made = int(node.value, base)
    except ValueError:  # no digits after !!int, or too many of them
        made = _BEYOND
    if abs(made) < _BEYOND:
        return made
    problem = f"has {node.value!r:.40}, which is not an integer of up to {MOST_DIGITS} digits"
    raise SyntaxFault(problem, node.start_mark)


def _float(node: ScalarNode) -> float:
    text = node.value.lower()
    if text.lstrip("+-") in {".inf", ".nan"}:
        return math.copysign(float(text.lstrip("+-")[1:]), -1.0 if text[0] == "-" else 1.0)
    try:
        return float(text)
    except ValueError as error:
        raise SyntaxFault(
            f"has {node.value!r:.40}, which is not a number", node.start_mark
        ) from error


def _truth(node: ScalarNode) -> bool:
    text = node.value.lower()
    if text not in {"true", "false"}:
        raise SyntaxFault(
            f"has {node.value!r:.40}, which is neither true nor false", node.start_mark
        )
    return bool(text == "true")


def _null(_: ScalarNode) -> None:
    return None


def _text(node: ScalarNode) -> str:
    return str(node.value)


_SCALARS: dict[str, Callable[[ScalarNode], Any]] = {
    "null": _null,
    "bool": _truth,
    "int": _integer,
    "float": _float,
    "str": _text,
}
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_NO_NUMBER = r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_PLAIN = {  # a pattern, and the first characters of such a scalar
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": ("true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": ("[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (f"{_FLOAT}|{_NO_NUMBER}", list("-+.0123456789")),
}
for _kind, (_pattern, _first) in _PLAIN.items():
    _Reader.add_implicit_resolver(_TAG + _kind, re.compile(f"(?:{_pattern})\\Z"), _first)
