"""The dialect of a file with delimiters: delimiter, headings and the lines before them."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from batchgrad.contract import TextOptions
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.formats.clean_text import MOST_LINE_BYTES
from batchgrad_service.reading.formats.headings import checked_names

_CANDIDATES = "\t;|,"
"""In order of preference: a comma may also be a decimal comma, or part of a text."""
_SAMPLED_ROWS = 50

csv.field_size_limit(MOST_LINE_BYTES)  # by the wrong delimiter, a whole line is one field


@dataclass(frozen=True)
class Dialect:
    """`skipped_bytes` (of UTF-8) before the first row hold headings and comments."""

    delimiter: str
    names: tuple[str, ...]
    skipped_bytes: int
    skipped_lines: int


def dialect_of(start: str, options: TextOptions, default_delimiter: str | None) -> Dialect:
    """Recognise how the text is written that begins with `start`, whole lines.

    Lines before the headings are left out if they are empty, `sep=;`, or begin with #; but the
    last one with # holds the headings if it has as many fields as the line below it.

    Raises:
        InvalidError: the headings are missing, empty or not different.
    """
    lines = io.StringIO(start, newline="").readlines()
    first, separator = _first_line(lines)
    delimiter = options.delimiter or separator or default_delimiter
    if delimiter is None:
        delimiter = _recognised("".join(lines[first:]))
    if not delimiter.isascii() or delimiter in '"\r\n\0':
        raise InvalidError.field(
            "/file/text/delimiter",
            f"The delimiter is {delimiter!r}; expected one ASCII character that is no quote or "
            "line end, as in --delimiter ';' (--delimiter $'\\t' for a tab).",
        )
    commented = first > 0 and _is_commented_heading(lines, first, delimiter)
    if commented:
        first -= 1
    before = "".join(lines[:first])
    heading, used = _first_row(lines[first:], delimiter)
    names = [name.strip() for name in heading]
    if commented:
        names[0] = names[0].removeprefix("#").lstrip()
    if not options.headings:
        names, used = [f"column {number}" for number in range(1, len(names) + 1)], ""
    else:
        _check_headings(names)
    skipped = before + used
    return Dialect(delimiter, checked_names(names), len(skipped.encode()), skipped.count("\n"))


def _first_line(lines: Sequence[str]) -> tuple[int, str | None]:
    """Return the index of the first line that is no comment, and the delimiter of `sep=;`."""
    separator = None
    for index, line in enumerate(lines):
        text = line.strip("\r\n")
        if text.lower().startswith("sep=") and len(text) == 5:  # as Excel writes and reads
            separator = text[4]
        elif text.strip() and not text.startswith("#"):
            return index, separator
    comments = [index for index, line in enumerate(lines) if line.startswith("#")]
    return (comments[-1] if comments else len(lines)), separator


def _is_commented_heading(lines: Sequence[str], first: int, delimiter: str) -> bool:
    above, below = (_first_row(lines[index:], delimiter)[0] for index in (first - 1, first))
    return lines[first - 1].startswith("#") and len(above) == len(below) > 1


def _recognised(text: str) -> str:
    """Return the delimiter that gives each row as many fields, else the most to the first row."""
    counts = {
        candidate: [
            len(row)
            for row in islice(_rows(io.StringIO(text, newline=""), candidate), _SAMPLED_ROWS)
        ]
        for candidate in _CANDIDATES
    }
    for candidate, found in counts.items():
        complete = found[:-1] if len(found) > 2 else found  # the last row may go on
        if len(set(complete)) == 1 and found[0] > 1:
            return candidate
    return max(reversed(_CANDIDATES), key=lambda candidate: next(iter(counts[candidate]), 0))


def _first_row(lines: Sequence[str], delimiter: str) -> tuple[list[str], str]:
    """Return the fields of the first row, and its text."""
    used: list[str] = []

    def counted() -> Iterator[str]:
        for line in lines:
            used.append(line)
            yield line

    return next(_rows(counted(), delimiter), []), "".join(used)


def _rows(lines: Iterator[str] | io.StringIO, delimiter: str) -> Iterator[list[str]]:
    try:
        yield from (row for row in csv.reader(lines, delimiter=delimiter) if row)
    except csv.Error as error:
        raise InvalidError.field(
            "/file",
            f"The first lines have a field that cannot be read ({error}): is a quote not closed, "
            "or is this another format, as in --format parquet?",
        ) from error


def _check_headings(names: Sequence[str]) -> None:
    """Refuse headings that are a row of numbers; 0, 1, 2 may be headings, 5.1, 3.5 are not."""
    if all(map(_is_number, names)) and (
        len(set(names)) < len(names) or not all(name.isdecimal() for name in names)
    ):
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise InvalidError.field(
            "/file",
            f"The first line has the values {shown} where names of columns are "
            "expected; if the file has no headings, say --no-headings.",
        )


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
