"""A table in a file with delimiters: CSV, TSV."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from batchgrad.contract import UploadedFile
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.formats.clean_text import MOST_LINE_BYTES, CleanText
from batchgrad_service.reading.formats.delimited.dialect import dialect_of
from batchgrad_service.reading.formats.delimited.row_lines import RowLines, row_lines
from batchgrad_service.reading.table_source import TableSource

_SAMPLE_BYTES = 2**18
_BLOCK_BYTES = 2**20
_BUFFER_BYTES = 2**16
_REMEDY = "is it another format? Then name it, as in --format parquet"


def open_csv(path: Path, file: UploadedFile) -> TableSource:
    """Open a file whose delimiter is recognised, if it is not given."""
    return DelimitedTable(path, file, None)


def open_tsv(path: Path, file: UploadedFile) -> TableSource:
    """Open a file with tabs between its fields."""
    return DelimitedTable(path, file, "\t")


class _LongRowError(Exception):
    """A row does not fit in a block."""


class DelimitedTable:
    """The rows are texts, without spaces around them. Empty lines are no rows."""

    is_text = True
    rows = None

    def __init__(self, path: Path, file: UploadedFile, default_delimiter: str | None) -> None:
        self._path = path
        self._encoding = file.text.encoding
        start, is_all = self._start()
        self._dialect = dialect_of(start, file.text, default_delimiter)
        rest = start.encode()[self._dialect.skipped_bytes :]
        if is_all and not rest.strip(b"\r\n"):
            raise InvalidError.field(
                "/file",
                f"The file has headings ({self.names[0]!r:.50}, …) but no rows: expected at least "
                "one line below them.",
            )

    @property
    def names(self) -> Sequence[str]:
        return self._dialect.names

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        chosen = list(self.names if columns is None else columns)
        done = 0
        try:
            for batch in self._read(chosen, _BLOCK_BYTES):
                yield batch
                done += batch.num_rows
        except _LongRowError:
            yield from _without_first(done, self._read_all(chosen))

    def _read_all(self, chosen: Sequence[str]) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._read(chosen, MOST_LINE_BYTES)
        except _LongRowError as error:
            raise self._too_long(error) from error

    def _read(self, chosen: Sequence[str], block_bytes: int) -> Iterator[pa.RecordBatch]:
        """Read blocks of the text; pyarrow keeps up to 32 of them, and a row fits in a block."""
        wrong: list[csv.InvalidRow] = []

        def refuse(row: csv.InvalidRow) -> str:
            wrong.append(row)
            return "error"

        with self._below_headings() as (clean, text):
            try:
                yield from map(_trimmed, self._reader(text, chosen, block_bytes, refuse))
            except pa.ArrowInvalid as error:
                if wrong:
                    raise self._ragged(wrong[0]) from error
                raise _LongRowError(str(error)) from error
        if clean.quotes % 2:
            self._check_last_quote()

    def _reader(
        self,
        text: IO[bytes],
        chosen: Sequence[str],
        block_bytes: int,
        refuse: Callable[[csv.InvalidRow], str],
    ) -> csv.CSVStreamingReader:
        return csv.open_csv(
            text,
            csv.ReadOptions(use_threads=False, block_size=block_bytes, column_names=self.names),
            csv.ParseOptions(
                delimiter=self._dialect.delimiter,
                newlines_in_values=True,
                invalid_row_handler=refuse,
            ),
            csv.ConvertOptions(
                column_types=dict.fromkeys(chosen, pa.string()),
                include_columns=chosen,
                check_utf8=False,
                strings_can_be_null=False,
            ),
        )

    def place(self, row: int) -> str:
        found = next(islice(self._row_lines(), row - 1, None), None)
        return f"row {row}" if found is None else f"row {row} (line {found.line})"

    def _start(self) -> tuple[str, bool]:
        """Return the first lines, and whether they are all."""
        with io.BufferedReader(CleanText(self._path, self._encoding)) as text:
            start = text.read(_SAMPLE_BYTES)
            is_all = len(start) < _SAMPLE_BYTES
            return (start + text.readline()).decode(), is_all

    @contextmanager
    def _below_headings(self) -> Iterator[tuple[CleanText, IO[bytes]]]:
        clean = CleanText(self._path, self._encoding)
        with io.BufferedReader(clean, _BUFFER_BYTES) as text:
            text.read(self._dialect.skipped_bytes)
            yield clean, text

    def _row_lines(self) -> Iterator[RowLines]:
        with self._below_headings() as (_, text):
            delimiter = self._dialect.delimiter.encode()
            yield from row_lines(text, delimiter, self._dialect.skipped_lines + 1)

    def _ragged(self, row: csv.InvalidRow) -> InvalidError:
        expected, found = row.expected_columns, row.actual_columns
        what = f"{found} field{'' if found == 1 else 's'}"
        remedy = (
            "put quotes around a value that holds the delimiter"
            if found > expected
            else "write nothing between two delimiters for a missing value"
        )
        return InvalidError.field(
            "/file",
            f"{self.place(row.number).capitalize()} has {what}, expected {expected} as in the "
            f"first line: {row.text[:100]!r}. The delimiter is {self._dialect.delimiter!r}; "
            f"{remedy}, or name another delimiter, as in --delimiter ';'.",
        )

    def _too_long(self, error: _LongRowError) -> InvalidError:
        found = next((row for row in self._row_lines() if row.bytes > MOST_LINE_BYTES), None)
        if found is None:
            return InvalidError.field(
                "/file", f"This is no readable table ({error!s:.200}); {_REMEDY}."
            )
        return InvalidError.field(
            "/file",
            f"The row that begins in line {found.line} has more than {MOST_LINE_BYTES} bytes: most "
            'likely a quote (") is not closed there; close it, or write a quote as "".',
        )

    def _check_last_quote(self) -> None:
        for number, found in enumerate(self._row_lines(), 1):
            if not found.closed:
                raise InvalidError.field(
                    "/file",
                    f'Row {number} (line {found.line}) has a quote (") that is not closed before '
                    'the end of the file; close it, or write a quote as "".',
                )


def _trimmed(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pc.utf8_trim_whitespace(column) for column in batch.columns], names=batch.schema.names
    )


def _without_first(rows: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Leave out the first rows."""
    for batch in batches:
        if rows < batch.num_rows:
            yield batch.slice(rows)
        rows = max(0, rows - batch.num_rows)
