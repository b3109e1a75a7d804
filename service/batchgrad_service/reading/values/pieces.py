"""Read a table in pieces of a few MB: gaps are nulls, and rows keep their numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchgrad.contract.tables import TextOptions
from batchgrad_service.reading.table_source import TableSource
from batchgrad_workers.arrays import Integers

GAPS = (
    "", "NA", "N/A", "n/a", "na", "#N/A", "<NA>", "NaN", "nan", "NAN", "-nan", "NULL", "Null",
    "null", "None", "none", "-", "--", ".", "?",
)  # fmt: skip
"""Texts in text files that mean a gap, beside those of TextOptions.gaps."""

_PIECE_NUMBERS = 2**21
"""Most values in a piece: 16 MB as float64."""


@dataclass(frozen=True)
class Piece:
    """Some rows of a table: `columns` by name, each (n,), and the rows' numbers (n,) in the file.

    A column is of type string, bool, timestamp[us], float32, float64, an integer, or null. Rows
    that were left out count in `last_row`.
    """

    columns: dict[str, Any]
    rows: Integers
    last_row: int

    @property
    def length(self) -> int:
        """How many rows there are."""
        return len(self.rows)


@dataclass(frozen=True)
class Reader:
    """A table's columns as `text` says they are written; rows with a gap in `needed` are left out.

    `text` is about columns that are texts; a file that is no text has gaps of its own.
    """

    source: TableSource
    text: TextOptions
    needed: Sequence[str] = ()

    @property
    def _gaps(self) -> Sequence[str]:
        return [*(GAPS if self.source.is_text else ()), *self.text.gaps]

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """Read the columns `names`, again each time."""
        rows = max(1, _PIECE_NUMBERS // max(1, len(names)))
        first = 1
        for batch in self.source.batches(list(names)):
            for start in range(0, batch.num_rows, rows):
                part = batch.slice(start, rows)
                yield self._piece(part, first)
                first += part.num_rows

    def _piece(self, batch: Any, first: int) -> Piece:
        columns = {
            name: self._plain(column)
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        rows = np.arange(first, first + batch.num_rows)
        for name in self.needed:
            kept = pc.is_valid(columns[name])
            columns = {each: pc.filter(column, kept) for each, column in columns.items()}
            rows = rows[kept.to_numpy(zero_copy_only=False)]
        return Piece(columns, rows, first + batch.num_rows - 1)

    def _plain(self, column: Any) -> Any:
        if pa.types.is_date(column.type):
            return column.cast(pa.timestamp("us"))
        if not pa.types.is_string(column.type) or not self._gaps:
            return column
        gap = pc.is_in(column, value_set=pa.array(self._gaps, column.type))
        return pc.if_else(gap, pa.scalar(None, column.type), column)
