"""Messages of errors for the command line: with commands and flags instead of HTTP."""

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from batchgrad.errors import ApiError, BatchgradError, InvalidSpec, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchgrad.contract import FieldError

_ENDED = "it has ended; `batchgrad resume {subject} --epochs N` trains it further."
_REMEDIES = {
    "job_not_found": "`batchgrad list` shows all jobs.",
    "dataset_not_found": "`batchgrad datasets list` shows all datasets, "
    "`batchgrad datasets push {subject} FILE.npz` stores one.",
    "dataset_exists": "add --replace to replace it, or choose another name.",
    "dataset_in_use": "wait for it with `batchgrad wait {subject}`, or end it with "
    "`batchgrad cancel {subject}`, then delete.",
    "no_checkpoint": "`batchgrad wait {subject}` waits for its end.",
    "unauthorized": "set BATCHGRAD_TOKEN to the service's token; its file is --token-file, or "
    "`token` in the service's data directory.",
    "job_succeeded": _ENDED,
    "job_failed": _ENDED,
    "job_cancelled": _ENDED,
    "job_not_ended": "`batchgrad wait {subject}` waits for its end.",
    "job_cancelling": "submit it again instead.",
    "job_pausing": "`batchgrad wait {subject}` returns when it is paused.",
    "job_not_finished": "only a job that has ended can be deleted. End it with "
    "`batchgrad cancel {subject}`, or wait for its end with `batchgrad wait {subject}`, then "
    "delete.",
}
"""What to do, by the code of an error; {subject} is its job or dataset."""

_DELETE_PAUSED = (
    "only a job that has ended can be deleted. End it with `batchgrad cancel {subject}`, or "
    "resume it with `batchgrad resume {subject}`, then delete."
)


def message(error: BatchgradError) -> str:
    """The message for a person at a terminal."""
    if isinstance(error, InvalidSpec):
        return _sentences(str(error).partition("\n")[0], error.errors)
    if not isinstance(error, ApiError):
        return str(error)
    remedy = _REMEDIES.get(error.problem.code)
    if remedy is None:
        return _sentences(error.problem.detail or error.problem.title, error.errors)
    fact = re.split(r"[;:] ", error.problem.detail, maxsplit=1)[0]
    if error.problem.code == "job_not_finished" and fact.endswith(" is paused"):
        remedy = _DELETE_PAUSED
    message = f"{fact}: {remedy.format(subject=_subject(error, fact))}"
    if not error.errors:
        return message
    field = error.errors[0]
    line = re.search(r" \((line \d+|by --[^)]*)\)$", field.detail)
    return f"{_dotted(field)}: {message}{line.group() if line else ''}"


def _sentences(message: str, errors: "Sequence[FieldError]") -> str:
    """Message and fields, each named as for --set: model.layers.0.kind."""
    return readable(message, errors, _dotted)


def _dotted(error: "FieldError") -> str:
    from batchgrad.parsing.validation import parts_of  # noqa: PLC0415 (help must stay quick)

    return ".".join(parts_of(error.pointer))


def _subject(error: ApiError, fact: str) -> str:
    """The job or dataset of the sentence, or else of the request."""
    named = re.match(r"Job (\S+) ", fact) or re.search(r"dataset '([^']*)'", fact)
    if named:
        return named.group(1)
    parts = urlsplit(error.request.url).path.split("/")
    return unquote(parts[3]) if len(parts) > 3 else "JOB"
