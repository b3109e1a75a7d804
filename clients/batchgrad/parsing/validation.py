"""Convert pydantic's errors to the contract's: a pointer, what arrived, what to do."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from batchgrad.contract import FieldError, JobSpec
from batchgrad.parsing.suggestions import suggest
from batchgrad.parsing.wording import expected, short_repr, unknown_key, unknown_kind

MOST_ERRORS = 100
"""Errors that are listed one by one; describing more takes time and helps no reader."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_QUOTED = re.compile("'([^']*)'")

Finding = Mapping[str, Any]
"""One of pydantic's `ErrorDetails`; its `loc` begins with "body" for what is in the body."""


def field_errors(
    findings: Sequence[Finding], body: Any, kind: type[BaseModel] = JobSpec
) -> list[FieldError]:
    """One error for each field, in pydantic's order; the branches of a union make one error.

    After `MOST_ERRORS` fields one error says how many others there are. `kind` is the type that
    the body was parsed as; unknown keys are compared with its fields.
    """
    by_pointer: dict[str, list[Finding]] = {}
    for finding in findings:
        by_pointer.setdefault(_pointer(finding, body), []).append(finding)
    above = _above(by_pointer)
    reported = [
        (pointer, found)
        for pointer, found in by_pointer.items()
        # If a value inside of a union's member is wrong, errors of other members are no help.
        if not (pointer in above and all(_is_member(finding) for finding in found))
    ]
    errors = [
        FieldError(pointer=pointer, detail=_detail(found, kind))
        for pointer, found in reported[:MOST_ERRORS]
    ]
    if omitted := len(reported) - len(errors):
        detail = f"{omitted} other fields are wrong as well: correct the {MOST_ERRORS} above first."
        errors.append(FieldError(pointer="", detail=detail))
    return errors


def parts_of(pointer: str) -> list[str]:
    """The keys in an RFC 6901 pointer: "/a~1b/0" has ["a/b", "0"]."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _above(pointers: Iterable[str]) -> set[str]:
    """The pointers to all parents of what `pointers` point to."""
    above: set[str] = set()
    for pointer in pointers:
        while pointer and (pointer := pointer.rpartition("/")[0]) not in above:
            above.add(pointer)
    return above


def _is_member(finding: Finding) -> bool:
    """Whether this is about one member of a union, such as ("body", "workers", "int")."""
    return len(finding["loc"]) > 2 and finding["type"] not in {"value_error", "mixes_examples"}


def _pointer(finding: Finding, body: Any) -> str:
    """The RFC 6901 pointer into the body, without pydantic's names of union members."""
    where, *path = finding["loc"]
    if where != "body":
        return ""
    if finding["type"].startswith("union_tag"):
        path.append(finding["ctx"]["discriminator"].strip("'"))
    pointer, here = "", body
    for index, part in enumerate(path):
        last = index == len(path) - 1
        inside = (isinstance(here, Mapping) and part in here) or (
            isinstance(here, list) and isinstance(part, int) and 0 <= part < len(here)
        )
        absent = finding["type"] in {"missing", "union_tag_not_found"} and last
        if inside and not _can_travel(part):
            break  # the pointer ends at the parent of the key
        if inside or absent:
            pointer += "/" + str(part).replace("~", "~0").replace("/", "~1")
            here = here[part] if inside else None
    return pointer


def _can_travel(part: str | int) -> bool:
    """Whether a pointer may contain a key: it is short and has no lone surrogate."""
    return isinstance(part, int) or (len(part) <= 200 and not _SURROGATE.search(part))


def _detail(found: list[Finding], kind: type[BaseModel]) -> str:
    first = found[0]
    name = first["loc"][-1]
    prefix = "" if first["loc"][0] == "body" else f"{first['loc'][0]} parameter {name}: "
    for finding in found:
        sentence = _sentence(finding, kind)
        if sentence:
            return prefix + sentence
    wanted = dict.fromkeys(expected(finding) for finding in found)
    sentence = f"{prefix}got {short_repr(first['input'])}; expected {', or '.join(wanted)}"
    words = [word for finding in found for word in _words(finding)]
    guess = suggest(first["input"], words)
    return f"{sentence}." if guess is None else f"{sentence}: did you mean {guess}?"


def _words(finding: Finding) -> list[str]:
    """The words that a field takes."""
    literal = finding["type"] == "literal_error"
    return _QUOTED.findall(finding["ctx"]["expected"]) if literal else []


def _sentence(finding: Finding, kind: type[BaseModel]) -> str | None:
    """The whole sentence, for errors other than a wrong value; None for those."""
    name, context = finding["loc"][-1], finding.get("ctx", {})
    match finding["type"]:
        case "missing":
            return f"{name} is required: add it."
        case "union_tag_not_found":
            return f"{context['discriminator']} is required: it names the kind of this object."
        case "union_tag_invalid":
            tags = context["expected_tags"].replace("'", "").split(", ")
            return unknown_kind(context["tag"], tags, layer="layers" in finding["loc"])
        case "extra_forbidden":
            return unknown_key(str(name), finding["loc"][:-1], kind)
        case "value_error" | "mixes_examples":
            return str(finding["msg"]).removeprefix("Value error, ")
    return None
