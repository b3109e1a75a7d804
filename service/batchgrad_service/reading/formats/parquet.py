"""Read Parquet files, a few pages at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from batchgrad.contract import UploadedFile
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.formats.headings import checked_names
from batchgrad_service.reading.formats.typed_columns import (
    MOST_BYTES,
    MOST_ROWS,
    check_type,
    plain_batch,
    slices,
)
from batchgrad_service.reading.table_source import TableSource

_BUFFER_BYTES = 2**16
"""Read from a column's chunk at a time, instead of the whole chunk."""


def open_parquet(path: Path, _file: UploadedFile) -> TableSource:
    """Open a Parquet file. Raises InvalidError."""
    return ParquetTable(path)


class ParquetTable:
    """The columns of a Parquet file."""

    is_text = False

    names: Sequence[str] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as file:
            self._schema = file.schema_arrow
            self.rows: int = file.metadata.num_rows
            groups = range(file.metadata.num_row_groups)
            self._bytes = sum(file.metadata.row_group(n).total_byte_size for n in groups)
            self.names = checked_names(self._schema.names)
        if self.rows == 0:
            raise InvalidError.field(
                "/file", "The Parquet file has no rows; expected at least one."
            )

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        chosen = list(self.names if columns is None else columns)
        rows = max(1, min(MOST_ROWS, MOST_BYTES * self.rows // max(self._bytes, 1)))
        with self._open() as file:
            for name in chosen:
                check_type(name, self._schema.field(name).type)
            for batch in file.iter_batches(rows, columns=chosen, use_threads=False):
                batch.validate(full=True)
                yield from map(plain_batch, slices(batch.select(chosen)))

    def place(self, row: int) -> str:
        return f"row {row}"

    @contextmanager
    def _open(self) -> Iterator[parquet.ParquetFile]:
        try:
            with parquet.ParquetFile(
                self._path,
                memory_map=False,
                pre_buffer=False,
                buffer_size=_BUFFER_BYTES,
                page_checksum_verification=True,
            ) as file:
                yield file
        except MemoryError as error:
            raise InvalidError.field(
                "/file",
                f"This Parquet file of {len(self.names)} columns takes more memory than there is "
                "to read it: write it again with smaller row groups, as pandas' to_parquet(file, "
                "row_group_size=10_000) does.",
            ) from error
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InvalidError.field(
                "/file",
                f"This Parquet file cannot be read ({error!s:.200}): write it again, with "
                "pandas' to_parquet for example, or send CSV.",
            ) from error
