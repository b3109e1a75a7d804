"""Encode rows of a table, {column: value}, as a network's inputs; without numpy."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from math import floor, isnan
from typing import Any

from batchgrad.contract.tables import Column, EncodedInput, Encoding
from batchgrad.errors import InvalidArgument
from batchgrad.parsing.plain import unwrapped

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_SECONDS = 86_400


def encode_rows(encoding: Encoding, rows: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """The inputs (n, width) of rows.

    Raises:
        InvalidArgument: a row lacks a column, or a value is of another kind.
    """
    by_column = encoding.by_column
    columns = [column for column in encoding.table.inputs if column.name in by_column]
    found = []
    for number, row in enumerate(rows):
        encoded = [0.0] * len(encoding.inputs)
        for column in columns:
            value = _value(column, row, number)
            for index, x in _encoded(by_column[column.name], value):
                encoded[index] = x
        found.append(encoded)
    return found


def _encoded(
    inputs: list[tuple[int, EncodedInput]], value: float | str | None
) -> list[tuple[int, float]]:
    """The inputs of one value that are not 0."""
    matching = [(index, each) for index, each in inputs if each.takes == "match"]
    known = next((index for index, each in matching if value in each.categories), None)
    if value is None:
        known = next((index for index, each in matching if each.gaps), None)
    if known is None:
        known = next((index for index, each in matching if each.unknown), None)
    numbers = [
        (index, (_number(each, value) - each.mean) / each.deviation)
        for index, each in inputs
        if each.takes != "match"
    ]
    return numbers if known is None else [*numbers, (known, 1.0)]


def _number(each: EncodedInput, value: float | str | None) -> float:
    """The value, the part of a date that the input takes, or what fills a gap."""
    if not isinstance(value, float):
        return each.fill
    if each.takes == "value":
        return value
    milliseconds = floor(value * DAY_SECONDS * 1000 + 0.5)
    day, rest = divmod(milliseconds, DAY_SECONDS * 1000)
    at = date.fromordinal(EPOCH.toordinal() + day)
    parts = {"year": at.year, "month": at.month, "day": at.day, "weekday": at.weekday()}
    return float(parts.get(each.takes, rest // 3_600_000))


def _value(column: Column, row: Mapping[str, Any], number: int) -> float | str | None:
    """A row's value as a float or a category's text; None in a gap."""
    if column.name not in row:
        raise InvalidArgument(
            f"Row {number} has no column {column.name!r:.200}; it has {sorted(row)!s:.500}: give "
            "None for a gap."
        )
    value = unwrapped(row[column.name])
    if value is None or value == "" or (isinstance(value, float) and isnan(value)):
        return None
    if column.kind == "category":
        return value if isinstance(value, str) else str(value)
    try:
        return _days(value) if column.kind == "date" else _float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument(
            f"Row {number} has {value!r:.200} in column {column.name!r:.200}; expected a "
            f"{column.kind}."
        ) from None


def _float(value: Any) -> float:
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return float(value.strip().lower() == "true")
    return float(value)


def _days(value: Any) -> float:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    at = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (at - EPOCH).total_seconds() / DAY_SECONDS
