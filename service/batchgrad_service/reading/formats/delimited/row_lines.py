"""Find the line in which a row begins; rows may go on over lines inside quotes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_QUOTE = b'"'


@dataclass(frozen=True)
class RowLines:
    """A row's first line (from 1), its bytes, and whether its quotes are closed."""

    line: int
    bytes: int
    closed: bool


def row_lines(lines: Iterable[bytes], delimiter: bytes, line_number: int) -> Iterator[RowLines]:
    """Yield each row's lines, the first of which has this number; empty lines are no rows."""
    first, size, is_open = line_number, 0, False
    for number, line in enumerate(lines, line_number):
        if not is_open:
            first, size = number, 0
            if not line.strip(b"\r\n"):
                continue
        size += len(line)
        if is_open or _QUOTE in line:
            is_open = _ends_open(line, delimiter, is_open)
        if not is_open:
            yield RowLines(first, size, closed=True)
    if is_open:
        yield RowLines(first, size, closed=False)


def _ends_open(line: bytes, delimiter: bytes, is_open: bool) -> bool:
    """Tell whether a quoted field goes on in the next line; `is_open`: so does one in this."""
    position = 0
    while True:
        if is_open:
            position = line.find(_QUOTE, position)
            if position < 0:
                return True
            if line.startswith(_QUOTE, position + 1):  # "" is a quote inside of quotes
                position += 2
                continue
        elif line.startswith(_QUOTE, position):
            is_open, position = True, position + 1
            continue
        is_open = False
        position = line.find(delimiter, position) + 1
        if position == 0:
            return False
