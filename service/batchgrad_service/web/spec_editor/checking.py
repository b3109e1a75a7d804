"""Parse the text of a spec; say where it is wrong, as pointers and lines."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchgrad.contract import FieldError, JobSpec
from batchgrad.errors import InvalidSpec
from batchgrad.parsing.documents import SyntaxFault
from batchgrad.parsing.key_lines import KeyLines
from batchgrad.parsing.spec_files import parse_job


@dataclass(frozen=True)
class SpecError:
    """An error in the text, with its line and the pointer of its key, if it has them."""

    detail: str
    line: int | None = None
    pointer: str | None = None


def check(text: str) -> JobSpec | list[SpecError]:
    """The spec, or what is wrong."""
    try:
        return parse_job(text)
    except InvalidSpec as refused:
        if refused.errors:
            return at_lines(text, refused.errors)
        fault = refused.__cause__
        return [SpecError(str(refused), fault.line if isinstance(fault, SyntaxFault) else None)]


def at_lines(text: str, errors: Sequence[FieldError]) -> list[SpecError]:
    """Errors of the fields of a text, each with its line."""
    lines = KeyLines(text, "the text")
    return [SpecError(one.detail, lines.line_of(one.pointer), one.pointer) for one in errors]
