"""Tables in memory for tests: text as in a CSV file, or typed as in Parquet."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from batchgrad.contract import ImportRequest, TableOptions, TextOptions, UploadedFile
from batchgrad_service.datasets.validation import Content
from batchgrad_service.reading.importing import import_table

NO_UPLOAD = "sha256:" + 64 * "0"


class MemoryTable:
    """A table in memory; of texts alone, row 1 is in line 2."""

    def __init__(self, table: pa.Table, *, is_text: bool, batch_rows: int = 1000) -> None:
        self._table = table
        self._batch_rows = batch_rows
        self.is_text = is_text

    @property
    def names(self) -> Sequence[str]:
        return self._table.column_names

    @property
    def rows(self) -> int | None:
        return None if self.is_text else self._table.num_rows

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        chosen = self._table if columns is None else self._table.select(list(columns))
        yield from chosen.combine_chunks().to_batches(max_chunksize=self._batch_rows)

    def place(self, row: int) -> str:
        return f"row {row} (line {row + 1})" if self.is_text else f"row {row}"


def text_table(columns: Mapping[str, str | Sequence[str]], batch_rows: int = 1000) -> MemoryTable:
    """Columns of texts; a string is split at spaces."""
    split = {name: x.split(" ") if isinstance(x, str) else x for name, x in columns.items()}
    table = pa.table({name: pa.array(values, pa.string()) for name, values in split.items()})
    return MemoryTable(table, is_text=True, batch_rows=batch_rows)


def typed_table(columns: dict[str, Any], batch_rows: int = 1000) -> MemoryTable:
    """Columns of any types that a TableSource has."""
    return MemoryTable(pa.table(columns), is_text=False, batch_rows=batch_rows)


def request(text: dict[str, Any] | None = None, **options: Any) -> ImportRequest:
    """Return a request to import a table with these options."""
    return ImportRequest(
        file=UploadedFile(upload=NO_UPLOAD, text=TextOptions(**(text or {}))),
        table=TableOptions(**options),
    )


def imported(
    table: MemoryTable, directory: Path, text: dict[str, Any] | None = None, **options: Any
) -> Content:
    """Import the table to a directory."""
    return import_table(
        table, request(text, **options), directory, max_bytes=2**30, progress=lambda *_: None
    )
