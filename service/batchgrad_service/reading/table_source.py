"""The interface of a table in a file: its columns, read in batches, as often as needed."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa


class TableSource(Protocol):
    """A table of any size; a batch has at most some 16 MB, and rows are numbered from 1.

    `rows` is None where counting them means reading all of them. `is_text`: all columns are texts
    as they are written in the file, so that gaps are texts such as NA, too.
    """

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns."""
        ...

    @property
    def rows(self) -> int | None:
        """The number of rows, if that is known without reading them."""
        ...

    @property
    def is_text(self) -> bool:
        """Whether the file holds texts alone, as CSV does."""
        ...

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Read the rows in order; with `columns` only those, in that order. May be repeated.

        Types are string, integers, float32, float64, bool, date32, timestamp[us] (in UTC if the
        file names zones) and null; a gap is null, NaN too.

        Raises:
            InvalidError: the file is damaged, or has values of other types.
        """
        ...

    def place(self, row: int) -> str:
        """Say where row `row` (from 1) is, for messages: `row 7 (line 9)`, or `row 7`."""
        ...
