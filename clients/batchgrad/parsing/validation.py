"""pydantic's complaints as the contract writes them: a pointer, what arrived, what to do."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from batchgrad.contract import FieldError, JobSpec
from batchgrad.parsing.suggestions import suggest
from batchgrad.parsing.wording import expected, short_repr, unknown_key, unknown_kind

MOST_ERRORS = 100
"""How many wrong fields are told one by one: nobody reads more, and each takes its time."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_QUOTED = re.compile("'([^']*)'")

Finding = Mapping[str, Any]
"""One of pydantic's `ErrorDetails`; its `loc` begins with "body" for what is in the body."""


def field_errors(
    findings: Sequence[Finding], body: Any, kind: type[BaseModel] = JobSpec
) -> list[FieldError]:
    """One error a field, in pydantic's order; branches of a union are told together.

    Beyond `MOST_ERRORS` fields the last error says how many others there are. `kind` is what the
    body was read as: its keys are the ones to take.
    """
    by_pointer: dict[str, list[Finding]] = {}
    for finding in findings:
        by_pointer.setdefault(_pointer(finding, body), []).append(finding)
    above = _above(by_pointer)
    reported = [
        (pointer, found)
        for pointer, found in by_pointer.items()
        # A union whose one member was meant and got something wrong inside: the others are no news.
        if not (pointer in above and all(_is_member(finding) for finding in found))
    ]
    errors = [
        FieldError(pointer=pointer, detail=_detail(found, kind))
        for pointer, found in reported[:MOST_ERRORS]
    ]
    if omitted := len(reported) - len(errors):
        detail = f"{omitted} other fields are wrong as well: mend the {MOST_ERRORS} above first."
        errors.append(FieldError(pointer="", detail=detail))
    return errors


def parts_of(pointer: str) -> list[str]:
    """The keys that an RFC 6901 pointer goes through: "/a~1b/0" is ["a/b", "0"]."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _above(pointers: Iterable[str]) -> set[str]:
    """Every pointer to something that holds what one of `pointers` points to."""
    above: set[str] = set()
    for pointer in pointers:
        while pointer and (pointer := pointer.rpartition("/")[0]) not in above:
            above.add(pointer)
    return above


def _is_member(finding: Finding) -> bool:
    """Whether this is about one member of a union, such as ("body", "workers", "int")."""
    return len(finding["loc"]) > 2 and finding["type"] not in {"value_error", "mixes_examples"}


def _pointer(finding: Finding, body: Any) -> str:
    """RFC 6901, into the body as it arrived: pydantic's names of union members are left out."""
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
            break  # the pointer ends at what holds the key
        if inside or absent:
            pointer += "/" + str(part).replace("~", "~0").replace("/", "~1")
            here = here[part] if inside else None
    return pointer


def _can_travel(part: str | int) -> bool:
    """Whether a key can stand in a pointer: it is short, and has no half of a character."""
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
    """The whole sentence, for findings that are more than a wrong value."""
    name, context = finding["loc"][-1], finding.get("ctx", {})
    match finding["type"]:
        case "missing":
            return f"{name} is required: add it."
        case "union_tag_not_found":
            return f"{context['discriminator']} is required: it says which kind this is."
        case "union_tag_invalid":
            tags = context["expected_tags"].replace("'", "").split(", ")
            return unknown_kind(context["tag"], tags, layer="layers" in finding["loc"])
        case "extra_forbidden":
            return unknown_key(str(name), finding["loc"][:-1], kind)
        case "value_error" | "mixes_examples":
            return str(finding["msg"]).removeprefix("Value error, ")
    return None
