"""A column's values as the numbers that a dataset stores: float64, category codes, classes.

n row; a column (n,) is an Arrow array as in a Piece, from any file that has the table's columns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchgrad.contract.tables import Column
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.values import texts
from batchgrad_service.reading.values.column_arrays import as_text
from batchgrad_workers.arrays import Floats, Integers

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ValueReader:
    """Reads values of a file whose texts have this `decimal` mark; `place` says where a row is."""

    place: Callable[[int], str]
    decimal: str = "."

    def inputs(self, column: Column, values: Any, rows: Integers) -> Floats:
        """The stored numbers (n,) of an input column; NaN in a gap.

        A text that is none of the column's categories has the code len(categories).

        Raises:
            InvalidError: a value is not of the column's kind.
        """
        found = np.full(len(rows), np.nan)
        given = pc.is_valid(values).to_numpy(zero_copy_only=False)
        if given.any():
            some = values if given.all() else values.drop_null()
            found[given] = self._read(column, some, rows[given])
        return found

    def numbers(self, column: Column, values: Any, rows: Integers) -> Floats:
        """The numbers (n,) of a target or weight. Raises InvalidError for a gap too."""
        found = self.inputs(column, values, rows)
        self._refuse_gap(column, np.isnan(found), rows)
        if column.role == "weight":
            self._refuse(column, values, rows, found < 0, "expected a weight of 0 or more")
        return found

    def classes(self, column: Column, classes: list[str], values: Any, rows: Integers) -> Integers:
        """The numbers (n,) of the classes that a target column names. Raises InvalidError."""
        self._refuse_gap(column, pc.is_null(values).to_numpy(zero_copy_only=False), rows)
        if column.kind == "category":
            names = as_text(values)
            codes = pc.index_in(names, value_set=pa.array(classes, pa.string()))
            found = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        else:
            numbers = self._read(column, values, rows)
            known = np.array([0.0, 1.0] if column.kind == "boolean" else list(map(float, classes)))
            found = np.searchsorted(known, numbers).clip(0, len(known) - 1)
            found[known[found] != numbers] = -1
        self._refuse(
            column,
            values,
            rows,
            found < 0,
            f"expected one of the classes {', '.join(classes[:20])}",
        )
        return found

    def _read(self, column: Column, values: Any, rows: Integers) -> Floats:
        """Values (n,) without gaps."""
        match column.kind:
            case "number":
                return self._numbers(column, values, rows)
            case "boolean":
                return self._truths(column, values, rows)
            case "date":
                return self._days(column, values, rows)
            case "category":
                codes = pc.index_in(
                    as_text(values), value_set=pa.array(column.categories or [], pa.string())
                )
                unknown = len(column.categories or [])
                return pc.fill_null(codes, unknown).to_numpy(zero_copy_only=False).astype(float)

    def _numbers(self, column: Column, values: Any, rows: Integers) -> Floats:
        if pa.types.is_string(values.type):
            found = texts.numbers(values, self.decimal)
        elif pa.types.is_timestamp(values.type):
            found = np.full(len(rows), np.nan)
        else:
            found = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        remedy = "expected a number"
        if self.decimal == "." and pa.types.is_string(values.type):
            remedy += "; if it has a decimal comma, give --decimal ,"
        self._refuse(column, values, rows, ~np.isfinite(found), remedy)
        return found

    def _truths(self, column: Column, values: Any, rows: Integers) -> Floats:
        if pa.types.is_string(values.type):
            are, true = texts.truths(values)
            number = texts.numbers(values)
            found = np.where(are, true, np.where(np.isin(number, (0, 1)), number, np.nan))
        elif pa.types.is_timestamp(values.type):
            found = np.full(len(rows), np.nan)
        else:
            found = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        self._refuse(column, values, rows, ~np.isin(found, (0, 1)), "expected true or false")
        return found

    def _days(self, column: Column, values: Any, rows: Integers) -> Floats:
        micros = np.full(len(rows), texts.NO_INSTANT)
        if pa.types.is_string(values.type):
            micros = texts.instants(values, column.date_form or "iso")
        elif pa.types.is_timestamp(values.type):
            micros = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
        expected = texts.DATE_EXAMPLES[column.date_form or "iso"]
        self._refuse(column, values, rows, micros == texts.NO_INSTANT, f"expected {expected}")
        return micros / texts.DAY_MICROSECONDS

    def _refuse_gap(self, column: Column, gaps: Mask, rows: Integers) -> None:
        if gaps.any():
            raise InvalidError.field(
                "/table",
                f"Column {column.name}, the {column.role}, has no value in "
                f"{self.place(int(rows[gaps.argmax()]))}: fill it in, or leave the row out.",
            )

    def _refuse(
        self, column: Column, values: Any, rows: Integers, wrong: Mask, expected: str
    ) -> None:
        if wrong.any():
            index = int(wrong.argmax())
            raise InvalidError.field(
                "/table",
                f"Column {column.name} is {str(values[index])[:80]!r} in "
                f"{self.place(int(rows[index]))}; {expected}, as in the dataset. Correct the file.",
            )
