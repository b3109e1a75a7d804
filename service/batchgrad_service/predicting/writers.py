"""Write predictions to a file, batch by batch: CSV, JSON lines, Parquet or npz."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from batchgrad.contract import PredictionFormat
from batchgrad.downloads.csv_files import safe

Columns = Mapping[str, npt.NDArray[Any]]
"""Columns (n,) by name, the same in each batch."""


class Writer(Protocol):
    """Takes the batches of a file."""

    def close(self) -> None:
        """Write what is left."""

    def write(self, columns: Columns) -> None:
        """Append rows."""


@contextmanager
def new_file(path: Path, format_: PredictionFormat) -> Iterator[Writer]:
    """Create the file at `path`; it is complete when the block has ended."""
    kinds: dict[PredictionFormat, Callable[[Path], Writer]] = {
        "csv": _Csv,
        "jsonl": _JsonLines,
        "parquet": partial(_Arrow, pyarrow.parquet.ParquetWriter),
        "npz": _Npz,
    }
    writer = kinds[format_](path)
    yield writer
    writer.close()


class _Arrow:
    """Batches of Arrow; `open_` makes a writer for a file and the first batch's types."""

    def __init__(self, open_: Callable[[Path, Any], Any], path: Path) -> None:
        self._open = open_
        self._path = path
        self._writer: Any = None

    def write(self, columns: Columns) -> None:
        batch = _batch(columns)
        if self._writer is None:
            self._writer = self._open(self._path, batch.schema)
        self._writer.write_batch(batch)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Csv(_Arrow):
    """Texts are such that no spreadsheet takes them for formulas."""

    def __init__(self, path: Path) -> None:
        super().__init__(_open_csv, path)

    def write(self, columns: Columns) -> None:
        super().write({safe(name): _safe(column) for name, column in columns.items()})


def _safe(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if column.dtype != object:
        return column
    return np.array([safe(text) for text in column.tolist()], object)


def _open_csv(path: Path, schema: Any) -> Any:
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    return pyarrow.csv.CSVWriter(path, schema, write_options=options)


class _JsonLines:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, columns: Columns) -> None:
        import orjson  # noqa: PLC0415

        lists = [column.tolist() for column in columns.values()]
        for row in zip(*lists, strict=True):
            self._file.write(orjson.dumps(dict(zip(columns, row, strict=True))) + b"\n")

    def close(self) -> None:
        self._file.close()


class _Npz:
    """Each column as an array; kept in memory until the end, as npz has their length first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: dict[str, list[npt.NDArray[Any]]] = {}

    def write(self, columns: Columns) -> None:
        for name, column in columns.items():
            plain = column.astype(str) if column.dtype == object else column
            self._parts.setdefault(name, []).append(plain)

    def close(self) -> None:
        with zipfile.ZipFile(self._path, "w") as archive:
            for name, parts in self._parts.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.save(file, np.concatenate(parts))


def _batch(columns: Columns) -> Any:
    arrays = {
        name: pa.array(column, pa.string()) if column.dtype == object else pa.array(column)
        for name, column in columns.items()
    }
    return pa.RecordBatch.from_pydict(arrays)
