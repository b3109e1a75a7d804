"""pydantic's findings, as JSON pointers with what arrived, what was expected, what to do."""

import reprlib
from collections.abc import Sequence
from typing import Any

from batchgrad.contract import ProblemError

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 60
_SHOWN.maxdict = _SHOWN.maxlist = 4
_SHOWN.maxlevel = 3


def field_errors(findings: Sequence[Any], body: Any) -> list[ProblemError]:
    """One error a field, in pydantic's order; branches of a union are told together."""
    by_pointer: dict[str, list[dict[str, Any]]] = {}
    for finding in findings:
        by_pointer.setdefault(_pointer(finding, body), []).append(finding)
    # A union whose one member was meant and got something wrong inside: the others are no news.
    whole = [
        pointer
        for pointer, found in by_pointer.items()
        if any(other.startswith(f"{pointer}/") for other in by_pointer)
        and all(_is_member(finding) for finding in found)
    ]
    return [
        ProblemError(pointer=pointer, detail=_detail(found))
        for pointer, found in by_pointer.items()
        if pointer not in whole
    ]


def _is_member(finding: dict[str, Any]) -> bool:
    """Whether this is about one member of a union, such as ("body", "workers", "int")."""
    return len(finding["loc"]) > 2 and finding["type"] not in {"value_error", "mixes_examples"}


def _pointer(finding: dict[str, Any], body: Any) -> str:
    """RFC 6901, into the body as it arrived: pydantic's names of union members are left out."""
    where, *path = finding["loc"]
    if where != "body":
        return ""
    if finding["type"].startswith("union_tag"):
        path.append(finding["ctx"]["discriminator"].strip("'"))
    pointer, here = "", body
    for index, part in enumerate(path):
        last = index == len(path) - 1
        inside = (isinstance(here, dict) and part in here) or (
            isinstance(here, list) and isinstance(part, int) and 0 <= part < len(here)
        )
        absent = finding["type"] in {"missing", "union_tag_not_found"} and last
        if inside or absent:
            pointer += "/" + str(part).replace("~", "~0").replace("/", "~1")
            here = here[part] if inside else None
    return pointer


def _detail(found: list[dict[str, Any]]) -> str:  # noqa: PLR0911 - one for each kind
    first = found[0]
    name = first["loc"][-1]
    prefix = "" if first["loc"][0] == "body" else f"{first['loc'][0]} parameter {name}: "
    expected: list[str] = []
    for finding in found:
        message, kind = str(finding["msg"]), finding["type"]
        if kind == "missing":
            return f"{prefix}{name} is required: add it."
        if kind == "union_tag_not_found":
            return f"{finding['ctx']['discriminator']} is required: it says which kind this is."
        if kind == "union_tag_invalid":
            tags = finding["ctx"]["expected_tags"].replace("'", "")
            return f"got {finding['ctx']['tag']!r:.80}; expected one of {tags}."
        if kind == "extra_forbidden":
            return f"{name!r:.80} is no key here: remove it, or check its spelling in /docs."
        if kind == "value_error":
            return prefix + message.removeprefix("Value error, ")
        if kind == "mixes_examples":
            return message
        expected.append(_expected(message))
    return f"{prefix}got {_SHOWN.repr(first['input'])}; {', or '.join(dict.fromkeys(expected))}."


def _expected(message: str) -> str:
    if message.startswith(("Input should be a valid dictionary", "Input should be an object")):
        return "it should be an object"
    text = message.replace("Input should be", "it should be", 1)
    return text[0].lower() + text[1:].rstrip(".")
