"""Pack step rows into columns, a tenth of their size as JSON, and unpack them.

Figures below a row's top level (thousands of norms and errors) are stored as float32 and read with
8 digits, except in float64 jobs, which store all figures as float64.
"""

import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import numpy as np

from batchgrad_engine.step_columns import Columns, count_of
from batchgrad_service.store.step_blocks.columns import (
    BadBlock,
    Leaf,
    Numbers,
    Parts,
    Tree,
    dtype,
    widened,
    write,
)

NESTED = 2
"""Figures at this depth or deeper are float32. Depth 1 is the row itself: loss, gradient norm."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
DIGITS = 8

Row = dict[str, Any]


def pack(rows: Sequence[Row], *, exact: bool = False) -> bytes:
    """Pack one row or more into a block; `exact` stores every figure as float64.

    A key that only some rows have, since a later version added it, becomes None in the others.
    """
    return write(_tree(_with_equal_keys(rows), 0, exact=exact), len(rows))


def pack_columns(columns: Columns, *, exact: bool = False) -> bytes:
    """Pack rows that come by columns; the bytes are those of `pack`."""
    count = count_of(columns)
    return write(_columns_tree(columns, count, 0, exact=exact), count)


def unpack(
    block: bytes, places: Sequence[int] | slice = slice(None), *, rounded: bool = True
) -> list[Row]:
    """Return the rows of a block, or those at `places`. Raises BadBlock.

    float32 figures are `rounded` to 8 digits, or returned exactly as stored, so that they can be
    packed again without a change.
    """
    try:
        return list(_Reading(block, places, rounded=rounded).rows())
    except (ValueError, KeyError, IndexError, TypeError, zlib.error) as error:
        raise BadBlock(f"A block of step rows can't be read: {error}") from error


def _with_equal_keys(rows: Sequence[Row]) -> list[Row]:
    if all(row.keys() == rows[0].keys() for row in rows):
        return list(rows)
    keys = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key) for key in keys} for row in rows]


def _tree(values: list[Any], depth: int, *, exact: bool) -> Tree:
    first, types = values[0], set(map(type, values))
    if types == {dict} and all(value.keys() == first.keys() for value in values):
        return {
            key: _tree(list(map(itemgetter(key), values)), depth + 1, exact=exact) for key in first
        }
    if types == {list} and len(set(map(len, values))) == 1:
        columns = zip(*values, strict=True)
        return [_tree(list(column), depth + 1, exact=exact) for column in columns]
    return _leaf(values, types, exact=exact or depth < NESTED)


def _columns_tree(columns: Any, count: int, depth: int, *, exact: bool) -> Tree:
    if isinstance(columns, dict):
        return {
            key: _columns_tree(part, count, depth + 1, exact=exact) for key, part in columns.items()
        }
    if isinstance(columns, list):
        return [_columns_tree(part, count, depth + 1, exact=exact) for part in columns]
    values = list(columns) if isinstance(columns, tuple) else [columns] * count
    return _leaf(values, set(map(type, values)), exact=exact or depth < NESTED)


def _leaf(values: list[Any], types: set[type], *, exact: bool) -> Leaf:
    if types == {datetime}:
        return Leaf("time", np.array([(value - EPOCH) // MICROSECOND for value in values]))
    if float not in types and values.count(values[0]) == len(values):
        return Leaf("same", values[0])
    if types == {int}:
        return _integers(values)
    if types == {str}:
        return _texts(values)
    if types <= {int, float, type(None)} and float in types:
        return _floats(values, exact=exact)
    return Leaf("json", values)


def _integers(values: list[int]) -> Leaf:
    try:
        return Leaf("integer", np.array(values, np.int64))
    except OverflowError:
        return Leaf("json", values)


def _texts(values: list[str]) -> Leaf:
    width = len(values[0])
    try:
        if all(len(value) == width for value in values):
            content = bytes.fromhex("".join(values))
            if content.hex() == "".join(values):
                return Leaf("hex", np.frombuffer(content, np.uint8).reshape(len(values), -1))
    except ValueError:
        pass  # no hexadecimal digits
    return Leaf("json", values)


def _floats(values: list[float | None], *, exact: bool) -> Leaf:
    """None is stored as nan, which no row contains."""
    numbers = np.array(values, np.float64)
    if exact:
        return Leaf("number", numbers)
    with np.errstate(over="ignore"):
        figures = numbers.astype(np.float32)
    fits = np.isfinite(figures) == np.isfinite(numbers)
    fits &= (np.abs(figures) >= np.finfo(np.float32).tiny) | ~(np.abs(numbers) > 0)
    return Leaf("figure", figures) if fits.all() else Leaf("number", numbers)


class _Reading:
    """Read the chosen rows of one block."""

    def __init__(self, block: bytes, places: Sequence[int] | slice, *, rounded: bool) -> None:
        parts = Parts(block)
        self._rounded_digits = rounded
        self._about = parts.about
        self._places = np.arange(parts.count)[places]
        self._whole: dict[str, Numbers] = {}  # (columns, rows) of integers
        self._chosen: dict[str, Any] = {}  # (columns, chosen rows) of all else
        for kind, planes in parts.planes.items():
            if kind[0] == "u":
                self._whole[kind] = parts.matrix(kind)
            else:
                self._chosen[kind] = self._choose(kind, planes)

    def rows(self) -> Iterable[Row]:
        """Return the rows as they were packed."""
        return self._values(self._about)

    def _choose(self, kind: str, planes: list[Numbers]) -> list[list[Any]]:
        """Return the columns of the chosen rows as Python values."""
        chosen = np.stack([plane[:, self._places] for plane in planes], axis=-1)
        if kind[0] == "V":
            return [[bytes(value).hex() for value in column] for column in chosen]
        numbers = chosen.view(dtype(kind))[..., 0]
        if kind == "f4":
            numbers = numbers.astype(np.float64)
            if self._rounded_digits:
                numbers = _rounded(numbers)
        columns: list[list[Any]] = numbers.tolist()
        for place in np.flatnonzero(np.isnan(numbers).any(axis=1)):
            column = columns[place]
            columns[place] = [None if value != value else value for value in column]  # noqa: PLR0124 - nan
        return columns

    def _values(self, about: Any) -> Any:
        """Return the values that a part of the tree has in the chosen rows, as an iterable."""
        if isinstance(about, list):
            return self._column(*about)
        if "l" in about:
            parts = [self._values(part) for part in about["l"]]
            return map(list, zip(*parts, strict=False)) if parts else self._repeated([])
        keys = tuple(about["d"])
        parts = [self._values(part) for part in about["d"].values()]
        if not parts:
            return self._repeated({})
        return [dict(zip(keys, values, strict=True)) for values in zip(*parts, strict=False)]

    def _column(self, kind: str, *where: Any) -> Any:
        if kind == "same":
            return self._repeated(where[0])
        if kind == "json":
            return [where[0][place] for place in self._places]
        if kind in {"figure", "number", "hex"}:
            return self._chosen[where[0]][where[1]]
        matrix, column, lowest, are_steps = where
        numbers = self._whole[matrix][column]
        if are_steps:
            values: list[int] = widened(numbers, lowest, are_steps)[self._places].tolist()
        else:
            values = (numbers[self._places].astype(np.int64) + lowest[0]).tolist()
        if kind == "time":
            return [EPOCH + timedelta(microseconds=value) for value in values]
        return values

    def _repeated(self, value: Any) -> list[Any]:
        return [value] * len(self._places)


def _rounded(numbers: Numbers) -> Numbers:
    """Round to `DIGITS` significant digits, all that float32 holds."""
    size = np.abs(numbers)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        digits = DIGITS - 1 - np.floor(np.log10(np.where(size > 0, size, 1.0)))
        up, down = 10.0 ** np.clip(digits, 0, 300), 10.0 ** np.clip(-digits, 0, 300)
        return np.rint(numbers * up / down) / up * down
