"""Rows of any file that has a table's columns, as a dataset stores them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchgrad.contract.tables import Column, ColumnRole, Table, TextOptions
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.columns.roles import unknown
from batchgrad_service.reading.table_source import TableSource
from batchgrad_service.reading.values.column_arrays import as_text, fixed_bytes
from batchgrad_service.reading.values.pieces import Piece, Reader
from batchgrad_service.reading.values.stored_values import ValueReader
from batchgrad_workers.arrays import Floats, Integers


@dataclass(frozen=True)
class RawRows:
    """Stored rows: inputs (n, columns), targets (n,) or (n, out), weights (n,), ids (n,) UTF-8.

    `rows` (n,) are their numbers in the file. `unknown` counts, for each category column that has
    some, the texts that are none of its categories; their code is len(categories).
    """

    rows: Integers
    inputs: Floats
    targets: npt.NDArray[Any] | None
    weights: Floats | None
    ids: npt.NDArray[np.bytes_] | None
    unknown: dict[str, int] = field(default_factory=dict)


def conform(piece: Piece, table: Table, reader: ValueReader, *, needs: Sequence[str]) -> RawRows:
    """Return the rows of `piece`, which has at least the columns that `needs` names.

    Raises:
        InvalidError: a value is not of its column's kind, or a class is unknown.
    """

    def one(role: ColumnRole) -> Column | None:
        return next((x for x in table.columns if x.role == role and x.name in needs), None)

    inputs = np.empty((piece.length, len(table.inputs)))
    unknown_texts = {}
    for index, column in enumerate(table.inputs):
        found = reader.inputs(column, piece.columns[column.name], piece.rows)
        inputs[:, index] = found
        count = int((found == len(column.categories)).sum()) if column.categories else 0
        if count:
            unknown_texts[column.name] = count
    weight, id_ = one("weight"), one("id")
    return RawRows(
        piece.rows,
        inputs,
        targets(piece, table, reader) if one("target") else None,
        reader.numbers(weight, piece.columns[weight.name], piece.rows) if weight else None,
        _ids(piece.columns[id_.name]) if id_ else None,
        unknown_texts,
    )


def targets(piece: Piece, table: Table, reader: ValueReader) -> npt.NDArray[Any]:
    """Return the classes (n,), or the numbers (n,) or (n, out). Raises InvalidError."""
    if table.classes is not None:
        [column] = table.targets
        return reader.classes(column, table.classes, piece.columns[column.name], piece.rows)
    found = [reader.numbers(x, piece.columns[x.name], piece.rows) for x in table.targets]
    return found[0] if len(found) == 1 else np.stack(found, -1)


def conformed(
    source: TableSource, table: Table, text: TextOptions, *, with_targets: bool
) -> Iterator[RawRows]:
    """Read the rows of a file for a job on a dataset with this `table`, in pieces.

    Columns are found by name; others are ignored (see `ignored`). Without `with_targets` a target
    is not read, and weights neither; ids are read if the file has them.

    Raises:
        InvalidError: a column is missing, or a value cannot be used.
    """
    needed = [*table.inputs, *(table.targets if with_targets else ())]
    optional: set[ColumnRole] = {"id", "weight"} if with_targets else {"id"}
    also = [x for x in table.columns if x.role in optional and x.name in source.names]
    for column in needed:
        if column.name not in source.names:
            raise _missing_column(column, source.names)
    names = [column.name for column in [*needed, *also]]
    reader = ValueReader(source.place, text.decimal)
    for piece in Reader(source, text).pieces(names):
        yield conform(piece, table, reader, needs=names)


def ignored(source: TableSource, table: Table) -> list[str]:
    """Return the columns of a file that `table` does not know."""
    known = {column.name for column in table.columns} | set(table.dropped)
    return [name for name in source.names if name not in known]


def _ids(column: Any) -> npt.NDArray[np.bytes_]:
    texts = as_text(column).fill_null("")
    return fixed_bytes(texts, max(1, pa.compute.max(pa.compute.binary_length(texts)).as_py() or 0))


def _missing_column(column: Column, names: Sequence[str]) -> InvalidError:
    return InvalidError.field(
        "/file",
        f"The file has no column {column.name}, the dataset's {column.role} ({column.kind}): "
        f"{unknown(column.name, names)} Add it, under the same heading."
        if names
        else f"The file has no columns: expected {column.name}.",
    )
