"""Files of every format for tests of the readers, and what the readers return."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from batchgrad_service.reading.formats.format import TableFormat
from batchgrad_service.reading.formats.recognition import recognised
from batchgrad_service.reading.formats.registry import FORMATS
from batchgrad_service.reading.table_source import TableSource
from tests.service.reading.uploaded import uploaded

Arrays = dict[str, npt.NDArray[Any]]


def opened(path: Path, content: bytes, name: str, **options: Any) -> TableSource:
    """The table that `content` holds."""
    path.write_bytes(content)
    file = uploaded(name, **options)
    format_ = FORMATS[recognised(path, file)]
    assert isinstance(format_, TableFormat)
    return format_.open(path, file)


def columns(source: TableSource, chosen: list[str] | None = None) -> dict[str, list[Any]]:
    """The values of a table's columns."""
    return pa.Table.from_batches(source.batches(chosen)).to_pydict()


def read_all(path: Path, directory: Path, content: bytes, name: str, **options: Any) -> int:
    """Read all of a file of any format; the number of rows, of all batches or of inputs."""
    path.write_bytes(content)
    file = uploaded(name, **options)
    format_ = FORMATS[recognised(path, file)]
    if isinstance(format_, TableFormat):
        source = format_.open(path, file)
        for batch in source.batches():
            batch.validate(full=True)
        return sum(batch.num_rows for batch in source.batches())
    format_.unpack(path, directory, file, max_bytes=1_000_000)
    return len(np.load(directory / "inputs.npy"))


def as_parquet(table: pa.Table, **options: Any) -> bytes:
    """The table as a Parquet file."""
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def as_arrow(table: pa.Table, *, stream: bool = False, **options: Any) -> bytes:
    """The table as an Arrow file, or stream."""
    sink = pa.BufferOutputStream()
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def picture(
    mode: str = "RGB",
    size: tuple[int, int] = (4, 3),
    color: Any = 0,
    kind: str = "PNG",
    **save: Any,
) -> bytes:
    """A picture of one colour; size is width and height."""
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, kind, **save)
    return file.getvalue()


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()
