"""Read Arrow files and streams (Feather version 2), a batch at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from batchgrad.contract import UploadedFile
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.formats.headings import checked_names
from batchgrad_service.reading.formats.typed_columns import check_type, plain_batch, slices
from batchgrad_service.reading.table_source import TableSource

_FILE_START = b"ARROW1"


def open_arrow(path: Path, _file: UploadedFile) -> TableSource:
    """Open an Arrow file or stream. Raises InvalidError."""
    return ArrowTable(path)


class ArrowTable:
    """The columns of an Arrow file. The file is mapped, so that its batches may be large."""

    is_text = False
    rows = None

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._is_stream = file.read(len(_FILE_START)) != _FILE_START
        with self._open() as reader:
            self._schema = reader.schema
            self.names: Sequence[str] = checked_names(self._schema.names)
        if not any(batch.num_rows for batch in self._batches([])):
            raise InvalidError.field("/file", "The Arrow file has no rows; expected at least one.")

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        chosen = list(self.names if columns is None else columns)
        for batch in self._batches(chosen):
            yield from map(plain_batch, slices(batch))

    def place(self, row: int) -> str:
        return f"row {row}"

    def _batches(self, chosen: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with self._open() as reader:
            for name in chosen:
                check_type(name, self._schema.field(name).type)
            batches = (
                reader
                if self._is_stream
                else map(reader.get_batch, range(reader.num_record_batches))
            )
            for whole in batches:
                batch = whole.select(list(chosen))
                batch.validate(full=True)  # its offsets may point outside of its buffers
                yield batch

    @contextmanager
    def _open(self) -> Iterator[pa.RecordBatchStreamReader]:
        # With included_fields, pyarrow would copy what is mapped.
        options = pa.ipc.IpcReadOptions(use_threads=False)
        open_ = pa.ipc.open_stream if self._is_stream else pa.ipc.open_file
        try:
            with pa.memory_map(str(self._path)) as file, open_(file, options=options) as reader:
                yield reader
        except MemoryError as error:
            raise InvalidError.field(
                "/file",
                "This Arrow file has a batch that takes more memory than there is to read it: "
                "write it again with smaller batches, as pyarrow.feather.write_feather(table, "
                "file, chunksize=65536) does.",
            ) from error
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InvalidError.field(
                "/file",
                f"This Arrow file cannot be read ({error!s:.200}): write it again, with "
                "pyarrow.feather.write_feather for example, or send Parquet.",
            ) from error
