"""Options of data, checked, as the service reads them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from batchgrad.contract import Dataset, ImportRequest, Operation
from batchgrad.contract.operations import NO_DIGEST
from batchgrad.data.source import Source
from batchgrad.errors import InvalidArgument, UnexpectedAnswer
from batchgrad.parsing.plain import plain
from batchgrad.parsing.validation import field_errors, parts_of
from batchgrad.user_warnings import warn_user

_PARTS = frozenset({"file", "text", "pictures", "table"})
"""Of a request: a user knows only what is in them."""

SMALL_BYTES = 2**20


def given(**options: Any) -> dict[str, Any]:
    """The options that have a value: for the others the service has its own defaults."""
    return {name: value for name, value in options.items() if value is not None}


def import_request(
    source: Source,
    *,
    table: Mapping[str, Any],
    file: Mapping[str, Any],
    digest: str = NO_DIGEST,
    **more: Any,
) -> dict[str, Any]:
    """The body of an ImportRequest: `table` and `file` are options of the user, by field.

    Raises:
        InvalidArgument: an option has a value that it cannot have.
    """
    body: dict[str, Any] = {
        "file": {
            "upload": digest,
            "name": source.name,
            **given(format=source.format),
            **{name: value for name, value in file.items() if value != {}},
        },
        **given(table={**source.table, **table} or None),
        **{name: value for name, value in more.items() if value is not False},
    }
    return checked(body, ImportRequest)


def checked(body: dict[str, Any], request: type[BaseModel]) -> dict[str, Any]:
    """The body of a request, if that takes it.

    Raises:
        InvalidArgument: an option has a value that it cannot have.
    """
    try:
        request.model_validate(plain(body))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(_message(error, body, request)) from error
    return body


def is_small_npz(source: Source, body: Mapping[str, Any]) -> bool:
    """Whether one request stores a file: an npz about which nothing is said but its name."""
    told = {**body["file"], **body.get("table", {})}
    is_npz = body["file"].get("format", "npz" if source.name.endswith(".npz") else None) == "npz"
    return (
        is_npz
        and set(told) <= {"upload", "name", "format"}
        and not body.get("dry_run")
        and source.length <= SMALL_BYTES
    )


def imported(operation: Operation) -> Dataset:
    """The dataset that an import has stored. Raises UnexpectedAnswer."""
    if operation.dataset is None:
        raise UnexpectedAnswer(f"Operation {operation.id} has succeeded without a dataset.")
    for warning in operation.warnings:
        warn_user(warning)
    return operation.dataset


def _message(error: Exception, body: Any, request: type[BaseModel]) -> str:
    if not isinstance(error, ValidationError):
        return f"An option cannot be sent: {error}."
    findings = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
    first = field_errors(findings, body, request)[0]
    parts = parts_of(first.pointer)
    name = ".".join(part for part in parts if part not in _PARTS) or "data"
    last = f"{parts[-1]} " if parts else " "
    if first.detail.startswith(last):
        return f"{name} {first.detail.removeprefix(last)}"
    return f"{name}: {first.detail}"
