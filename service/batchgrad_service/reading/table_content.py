"""Write a table's rows to the .npy files of a content, in one more reading of the file."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract.tables import Column, ColumnRole, Table
from batchgrad_service.problems import InvalidError, TooLargeError
from batchgrad_service.reading.columns.inference import Inferred
from batchgrad_service.reading.npy_writer import new_npy
from batchgrad_service.reading.rows import targets
from batchgrad_service.reading.values.column_arrays import Numbering, as_text, fixed_bytes
from batchgrad_service.reading.values.pieces import Piece
from batchgrad_service.reading.values.split_column import sets
from batchgrad_service.reading.values.stored_values import ValueReader

_Array = npt.NDArray[Any]


def write_content(
    inferred: Inferred,
    directory: Path,
    *,
    max_bytes: int,
    progress: Callable[[int], None],
) -> None:
    """Write inputs.npy, targets.npy and the others that the table has. `progress` gets rows.

    Raises:
        InvalidError: the file changed since it was looked at.
        TooLargeError: the arrays would hold more than `max_bytes` together.
        OSError: the disk does not take them.
    """
    arrays = {name: (dtype, shape) for name, dtype, shape in _arrays(inferred)}
    total = sum(np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in arrays.values())
    if total > max_bytes:
        raise TooLargeError(
            f"The table's arrays would have {total} bytes, this service takes {max_bytes}: --drop "
            "columns, use fewer rows, or raise max_dataset_bytes."
        )
    values = ValueReader(inferred.reader.source.place, inferred.reader.text.decimal)
    rows, written = _Rows(inferred, values), 0
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(new_npy(directory / f"{name}.npy", dtype, shape))
            for name, (dtype, shape) in arrays.items()
        }
        for piece in inferred.reader.pieces([column.name for column in inferred.table.columns]):
            written += piece.length
            if written > inferred.rows:
                break
            for name, writer in writers.items():
                writer.add(rows.array(name, piece))
            progress(piece.last_row)
    if written != inferred.rows:
        raise InvalidError.field(
            "/file",
            f"The file had {inferred.rows} rows when it was read first, then {written}: it changed "
            "meanwhile. Import it again.",
        )
    write_table(inferred.table, directory)


def write_table(table: Table, directory: Path) -> None:
    """Write table.npy: the columns as JSON; without warnings, which are no part of the content."""
    plain = table.model_copy(update={"warnings": []}).model_dump_json()
    np.save(directory / "table.npy", np.frombuffer(plain.encode(), np.uint8))


def _arrays(inferred: Inferred) -> Iterator[tuple[str, npt.DTypeLike, tuple[int, ...]]]:
    """Name, dtype and shape of each array but the table's own."""
    table, rows = inferred.table, inferred.rows
    numbers = np.float32 if inferred.single_targets else np.float64
    out = len(table.targets)
    yield "inputs", np.float32 if inferred.single_inputs else np.float64, (rows, len(table.inputs))
    yield (
        "targets",
        numbers if table.classes is None else np.int64,
        (rows,) if out == 1 else (rows, out),
    )
    others: dict[ColumnRole, tuple[str, npt.DTypeLike]] = {
        "weight": ("weights", np.float64),
        "unit": ("units", np.int64),
        "id": ("ids", f"S{max(1, inferred.id_bytes)}"),
        "split": ("split", np.uint8),
    }
    for role, (name, dtype) in others.items():
        if any(column.role == role for column in table.columns):
            yield name, dtype, (rows,)


class _Rows:
    """Makes the arrays of pieces, which come in order."""

    def __init__(self, inferred: Inferred, values: ValueReader) -> None:
        self._table = inferred.table
        self._id_bytes = max(1, inferred.id_bytes)
        self._single = inferred.single_inputs
        self._values = values
        self._units = Numbering()

    def array(self, name: str, piece: Piece) -> _Array:
        """Return the rows (n, …) of one array."""
        match name:
            case "inputs":
                return self._inputs(piece)
            case "targets":
                return targets(piece, self._table, self._values)
            case "weights":
                column = self._column("weight")
                return self._values.numbers(column, piece.columns[column.name], piece.rows)
            case "units":
                return self._units.add(as_text(piece.columns[self._column("unit").name]))
            case "ids":
                texts = as_text(piece.columns[self._column("id").name])
                return fixed_bytes(texts, self._id_bytes)
            case _:
                return sets(as_text(piece.columns[self._column("split").name]))

    def _column(self, role: ColumnRole) -> Column:
        return next(column for column in self._table.columns if column.role == role)

    def _inputs(self, piece: Piece) -> _Array:
        columns = self._table.inputs
        found = np.empty((piece.length, len(columns)), np.float32 if self._single else np.float64)
        for index, column in enumerate(columns):
            found[:, index] = self._values.inputs(column, piece.columns[column.name], piece.rows)
        return found
