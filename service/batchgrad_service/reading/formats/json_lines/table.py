"""A table in a file of JSON lines."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from batchgrad.contract import UploadedFile
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.formats.clean_text import CleanText
from batchgrad_service.reading.formats.headings import checked_names
from batchgrad_service.reading.formats.json_lines.parsing import KINDS, REMEDY, parsed
from batchgrad_service.reading.formats.typed_columns import plain_batch
from batchgrad_service.reading.table_source import TableSource

_BUFFER_BYTES = 2**16
_PIECE_BYTES = 2**22
_PIECE_VALUES = 2**19
_MOST_COLUMNS = 100_000
_TYPES = {
    frozenset[str](): pa.null(),
    frozenset({"true or false"}): pa.bool_(),
    frozenset({"an integer"}): pa.int64(),
    frozenset({"a number"}): pa.float64(),
    frozenset({"an integer", "a number"}): pa.float64(),
    frozenset({"a text"}): pa.string(),
}
_QUICK: dict[pa.DataType, frozenset[str]] = {
    **{plain: kinds for kinds, plain in _TYPES.items()},
    pa.float64(): frozenset({"a number"}),
}


def open_json_lines(path: Path, file: UploadedFile) -> TableSource:
    """Open a file of JSON lines. Raises InvalidError."""
    return JsonLinesTable(path, file.text.encoding)


@dataclass(frozen=True)
class _Row:
    line: int
    values: dict[str, Any]


class JsonLinesTable:
    """The keys are the columns; null, NaN and absent keys are gaps. Empty lines are no rows."""

    is_text = False

    def __init__(self, path: Path, encoding: str) -> None:
        self._path = path
        self._encoding = encoding
        self._refuse_array()
        self._seen: dict[str, dict[str, int]] = {}  # column: {kind of value: its first line}
        self.rows = 0
        for rows in self._pieces(lambda: len(self._seen)):
            self.rows += len(rows)
            self._look_at(rows)
        if self.rows == 0:
            raise InvalidError.field("/file", f"The file has no lines; {REMEDY}.")
        self.names: Sequence[str] = checked_names(list(self._seen))

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        types = {name: self._type(name) for name in (self.names if columns is None else columns)}
        for rows in self._pieces(lambda: len(types), is_checked=True):
            found = _columns(rows)
            gaps = [None] * len(rows)
            arrays = [_array(found.get(name, gaps), types[name]) for name in types]
            yield plain_batch(pa.RecordBatch.from_arrays(arrays, names=list(types)))

    def place(self, row: int) -> str:
        found = next(islice(self._lines(), row - 1, None), None)
        return f"row {row}" if found is None else f"row {row} (line {found[0]})"

    def _refuse_array(self) -> None:
        with self._text() as text:
            if text.read(1024).lstrip()[:1] == b"[":
                raise InvalidError.field(
                    "/file",
                    f"The file is one JSON array; {REMEDY}: jq -c '.[]' in.json > out.jsonl "
                    "writes it so, as does pandas' to_json(file, orient='records', lines=True).",
                )

    def _type(self, name: str) -> pa.DataType:
        seen = self._seen[name]
        with suppress(KeyError):
            return _TYPES[frozenset(seen)]
        where = " and ".join(f"{kind} in line {line}" for kind, line in seen.items())
        if seen.keys() & {"an array", "an object"}:
            remedy = 'write each value in it under a key of its own, as {"size_x": 1, "size_y": 2}'
        else:
            remedy = "write values of one type in all lines (null for a missing one)"
        raise InvalidError.field(
            "/file", f"Column {name!r} has {where}: {remedy}, or leave it out: --drop {name!r}."
        )

    def _look_at(self, rows: Sequence[_Row]) -> None:
        for name, values in _columns(rows).items():
            seen = self._seen.setdefault(name, {})
            try:
                kinds = _QUICK.get(pa.infer_type(values))
            except (pa.ArrowException, ValueError, OverflowError):
                kinds = None  # values of several types
            if kinds is None or not kinds <= seen.keys():
                for row, value in zip(rows, values, strict=True):
                    if value is not None:
                        seen.setdefault(KINDS[type(value)], row.line)
        if len(self._seen) > _MOST_COLUMNS:
            raise InvalidError.field(
                "/file",
                f"The first {rows[-1].line} lines have more than {_MOST_COLUMNS} different keys: "
                "expected the same keys, the columns' names, in each line.",
            )

    def _pieces(
        self, columns: Callable[[], int], *, is_checked: bool = False
    ) -> Iterator[list[_Row]]:
        """Yield some rows at a time, few enough for so many columns."""
        rows: list[_Row] = []
        size = 0
        for number, line in self._lines():
            rows.append(_Row(number, parsed(number, line, is_checked=is_checked)))
            size += len(line)
            if size > _PIECE_BYTES or len(rows) * columns() > _PIECE_VALUES:
                yield rows
                rows, size = [], 0
        if rows:
            yield rows

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        with self._text() as text:
            for number, line in enumerate(text, 1):
                if line.strip():
                    yield number, line

    def _text(self) -> IO[bytes]:
        return io.BufferedReader(CleanText(self._path, self._encoding), _BUFFER_BYTES)


def _columns(rows: Sequence[_Row]) -> dict[str, Sequence[Any]]:
    """Return the values of each key, in the rows' order."""
    names = tuple(rows[0].values)
    if all(tuple(row.values) == names for row in rows):  # four times as fast
        return dict(
            zip(names, zip(*(row.values.values() for row in rows), strict=True), strict=True)
        )
    keys = dict.fromkeys(name for row in rows for name in row.values)
    return {name: [row.values.get(name) for row in rows] for name in keys}


def _array(values: Sequence[Any], target: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, target)
    except pa.ArrowInvalid:  # integers, among numbers, that are not exact in float64
        return pa.array([None if value is None else float(value) for value in values], target)
