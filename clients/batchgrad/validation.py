"""pydantic's complaints as the contract writes them: a pointer and what to do."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from batchgrad.contract import ProblemError

Path = tuple[str | int, ...]


def explain(error: ValidationError, data: Any) -> list[tuple[Path, str]]:
    """(path into `data`, what is wrong there), one for each path.

    pydantic's paths also name the member of a union that it tried; only what is in the data, or
    is missing from it, stays. The members' complaints about one value become one.
    """
    found: dict[Path, list[str]] = {}
    for one in error.errors(include_url=False):
        path, said = _path_in(data, one["loc"], missing=one["type"] == "missing"), _said(one)
        if one["type"].startswith("union_tag"):  # the fault is in the key that names the kind
            path = (*path, one["ctx"]["discriminator"].strip("'"))
        details = found.setdefault(path, [])
        if said not in details:
            details.append(said)
    return [(path, " or: ".join(details)) for path, details in found.items()]


def _said(one: ErrorDetails) -> str:
    value = one["input"]
    match one["type"]:
        case "missing" | "union_tag_not_found":
            return "is required, and missing"
        case "extra_forbidden":
            return "there is no such key here; remove it, or correct its name"
        case "union_tag_invalid":
            return f"got {one['ctx']['tag']!r}; expected one of {one['ctx']['expected_tags']}"
    said = one["msg"].removeprefix("Value error, ")
    return said if isinstance(value, Mapping | list) else f"got {value!r}; {said}"


def problem_errors(explained: list[tuple[Path, str]]) -> list[ProblemError]:
    """The same with RFC 6901 pointers."""
    return [ProblemError(pointer=pointer(path), detail=detail) for path, detail in explained]


def pointer(path: Path) -> str:
    """("a/b", 0) -> "/a~1b/0"."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _path_in(data: Any, loc: Path, *, missing: bool) -> Path:
    kept: list[str | int] = []
    for i, part in enumerate(loc):
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, Mapping) and part in data):
            data = data[part]
        elif not (missing and i == len(loc) - 1):
            continue
        kept.append(part)
    return tuple(kept)
