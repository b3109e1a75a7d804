"""Options of the command line that name columns: COLUMN=VALUE, and HxW."""

import re
from collections.abc import Sequence
from typing import Any

from batchgrad.errors import InvalidArgument


def pairs(option: str, values: Sequence[str] | None) -> Any:
    """{column: value} of COLUMN=VALUE texts; the last = separates. None for none."""
    if not values:
        return None
    found: dict[str, str] = {}
    for one in values:
        column, equals, value = one.rpartition("=")
        if not (column and equals and value):
            raise InvalidArgument(f"{option} is {one!r:.100}; expected COLUMN=VALUE.")
        if column in found:
            raise InvalidArgument(f"{option} has the column {column!r:.100} twice.")
        found[column] = value
    return found


def rules(option: str, values: Sequence[str] | None) -> Any:
    """One rule for all columns, or {column: rule}; None for none."""
    if values and not any("=" in one for one in values):
        if len(values) > 1:
            raise InvalidArgument(
                f"{option} is given {len(values)} times without a column; expected one rule for "
                "all columns, or COLUMN=RULE for each."
            )
        return values[0]
    return pairs(option, values)


def numbers(option: str, value: str | None) -> tuple[int, int] | None:
    """Height and width of HxW; None for None."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", value)
    if found is None:
        raise InvalidArgument(f"{option} is {value!r:.100}; expected HxW, such as 32x32.")
    return int(found[1]), int(found[2])
