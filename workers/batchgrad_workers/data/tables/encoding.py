"""The encoding of a table's rows: from stored numbers and codes to a network's inputs."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract import Column, EncodedInput, Encoding, Table
from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.data.standardization import Standardization
from batchgrad_workers.nn.kernels.encoding import encode

TAKES = ("value", "year", "month", "day", "weekday", "hour")
"""`EncodedInput.takes` of numbers, by their numbers in nn/kernels/encoding.py."""

ACCEPTED = {
    "number": ("number", "boolean"),
    "boolean": ("boolean", "number"),
    "date": ("date",),
    "category": ("category",),
}
"""Kinds of a column that can stand for a column of another table."""


class TableMismatch(Exception):
    """A table lacks a column of an encoding, or has it with another kind."""


@dataclass(frozen=True)
class TableEncoding:
    """`encoding`, compiled for the stored rows (n, columns) of `table`.

    Columns and categories are found by name, so `table` may have its own order of both.
    `values`, `matches` and `places` are those of nn/kernels/encoding.py.
    """

    encoding: Encoding
    table: Table
    values: Floats
    matches: Floats
    places: Floats

    @classmethod
    def of(cls, encoding: Encoding, table: Table | None = None) -> "TableEncoding":
        """Compile for the rows of `table`, by default the table that `encoding` was fitted on.

        Raises:
            TableMismatch: a column is missing, or of another kind.
        """
        rows = table or encoding.table
        own = {column.name: column for column in encoding.table.inputs}
        found = {column.name: index for index, column in enumerate(rows.inputs)}
        inputs = encoding.by_column
        for name in inputs:
            if name not in found:
                raise TableMismatch(_missing(name, rows))
            _check_kind(own[name], rows.inputs[found[name]])
        values = [
            (
                index,
                found[each.column],
                TAKES.index(each.takes),
                each.fill,
                each.mean,
                each.deviation,
            )
            for index, each in enumerate(encoding.inputs)
            if each.takes != "match"
        ]
        matches, places = [], list[int]()
        for name, numbered in inputs.items():
            matching = [(index, each) for index, each in numbered if each.takes == "match"]
            if matching:
                texts = rows.inputs[found[name]].categories or []
                matches.append((found[name], len(places), len(texts)))
                places += _places(matching, texts)
        return cls(
            encoding,
            rows,
            np.array(values, np.float64).reshape(-1, 6),
            np.array(matches, np.float64).reshape(-1, 3),
            np.array(places, np.float64),
        )

    def compiled(self, table: Table) -> "TableEncoding":
        """The same encoding for the rows of another table; TableMismatch if it does not fit."""
        return TableEncoding.of(self.encoding, table)

    @property
    def names(self) -> list[str]:
        """The names of the network's inputs."""
        return [each.name for each in self.encoding.inputs]

    @property
    def shape(self) -> tuple[int]:
        """The shape of an example's inputs, (width,)."""
        return (len(self.encoding.inputs),)

    @property
    def is_finite(self) -> bool:
        """True if all means and deviations are finite."""
        return bool(np.isfinite(self.values).all())

    def apply(self, inputs: npt.NDArray[Any], dtype: Any) -> Array:
        """The network's inputs (n, width) of stored rows (n, columns); in float64, then rounded."""
        if inputs.dtype not in (np.float32, np.float64):
            inputs = inputs.astype(np.float64)
        encoded = np.empty((len(inputs), *self.shape), dtype)
        encode(inputs, self.values, self.matches, self.places, encoded)
        return encoded

    @property
    def standardization(self) -> Standardization | None:
        """Mean and deviation (width,), 0 and 1 of plain inputs; None if all are plain."""
        inputs = self.encoding.inputs
        if all((each.mean, each.deviation) == (0, 1) for each in inputs):
            return None
        return Standardization(
            np.array([each.mean for each in inputs]), np.array([each.deviation for each in inputs])
        )

    def unstandardized(self) -> "TableEncoding":
        """The same encoding without `standardization`."""
        plain = [x.model_copy(update={"mean": 0.0, "deviation": 1.0}) for x in self.encoding.inputs]
        return TableEncoding.of(self.encoding.model_copy(update={"inputs": plain}), self.table)

    def unfamiliar(self, inputs: npt.NDArray[Any]) -> tuple[Integers, Integers]:
        """Per column of `table`, (columns,): unexpected gaps, and texts not in the training rows.

        A gap is unexpected in a column of which the job's own dataset has no gap. Numbers and dates
        are filled there as the column's rule says, by the training rows' mean if it refuses gaps;
        a category becomes `(other)` if rare categories were, else zeros.
        """
        gaps, unknown = (np.zeros(len(self.table.inputs), np.int64) for _ in range(2))
        for index, expects, codes in self._expected:
            values = inputs[:, index]
            missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
            gaps[index] = 0 if expects else missing.sum()
            if codes is not None:
                unknown[index] = (~missing & ~np.isin(values, codes)).sum()
        return gaps, unknown

    @cached_property
    def _expected(self) -> list[tuple[int, bool, Integers | None]]:
        return list(self._expectations())

    def _expectations(self) -> Iterator[tuple[int, bool, Integers | None]]:
        """Per used column: its number, whether it has gaps, codes that the training rows had."""
        own = {column.name: column for column in self.encoding.table.inputs}
        inputs = self.encoding.by_column
        for index, column in enumerate(self.table.inputs):
            if column.name not in inputs:
                continue
            expects = own[column.name].missing > 0
            known = {text for _, each in inputs[column.name] for text in each.categories}
            texts = column.categories
            codes = None if texts is None else [n for n, text in enumerate(texts) if text in known]
            yield index, expects, None if codes is None else np.array(codes, np.int64)


def _places(inputs: list[tuple[int, EncodedInput]], texts: list[str]) -> list[int]:
    """The input that is 1 for each of `texts`, for another text, and in a gap; -1: none."""
    known = {text: index for index, each in inputs for text in each.categories}
    other = next((index for index, each in inputs if each.unknown), -1)
    gap = next((index for index, each in inputs if each.gaps), other)
    return [*(known.get(text, other) for text in texts), other, gap]


def _missing(name: str, table: Table) -> str:
    columns = ", ".join(column.name for column in table.inputs)
    return f"There is no input column {name!r:.200}; the table has {columns:.500}."


def _check_kind(own: Column, given: Column) -> None:
    if given.kind not in ACCEPTED[own.kind]:
        raise TableMismatch(
            f"Column {own.name!r:.200} has kind {given.kind}, expected {own.kind}, as in the "
            f"dataset that the network was trained on: give it that kind, kinds: "
            f"{{{own.name!r:.200}: {own.kind}}}."
        )
