"""Facts about a column, piece by piece: how many values are numbers, dates, which texts.

n row; nothing here depends on where a piece ends.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.values import texts
from batchgrad_service.reading.values.column_arrays import EXACT_INTEGERS, number_texts
from batchgrad_service.reading.values.texts import DateForm
from batchgrad_workers.arrays import Floats, Integers

FileType = Literal["text", "number", "boolean", "date"]
Mask = npt.NDArray[np.bool_]


@dataclass
class Range:
    """Numbers: how many, their range, whether all are integers, and all exact in float32."""

    count: int = 0
    lowest: float = np.inf
    highest: float = -np.inf
    integers: bool = True
    single: bool = True

    def add(self, values: Floats, counts: Integers) -> None:
        """Add values (k,), each so often (k,)."""
        if not len(values):
            return
        self.count += int(counts.sum())
        self.lowest = min(self.lowest, float(values.min()))
        self.highest = max(self.highest, float(values.max()))
        self.integers = self.integers and bool((values == np.floor(values)).all())
        if self.single:
            with np.errstate(over="ignore"):
                self.single = bool((values.astype(np.float32) == values).all())


@dataclass
class First:
    """The first value of a kind, and its row in the file; None before there is one."""

    row: int | None = None
    value: str = ""

    def note(self, wrong: Mask, rows: Integers, values: Any) -> None:
        """Look at values (k,) of which some are `wrong` (k,), in these rows (k,)."""
        if not wrong.any():
            return
        index = int(np.where(wrong, rows, np.iinfo(np.int64).max).argmin())
        if self.row is None or rows[index] < self.row:
            self.row, self.value = int(rows[index]), str(values[index])


@dataclass
class Distinct:
    """Different texts, with their counts and first rows; None once there are more than `limit`."""

    limit: int
    counts: dict[str, int] | None = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    sample: list[str] = field(default_factory=list)

    def add(self, column: Any, rows: Integers) -> tuple[Any, Integers, Integers] | None:
        """Add texts (n,) without nulls; return the different ones, counts and first rows."""
        if self.counts is None:
            return None
        coded = column.dictionary_encode()  # codes are 0, 1, … in the order of appearance
        values, codes = coded.dictionary, coded.indices.to_numpy()
        if len(values) + len(self.counts) > self.limit:
            known = pc.is_in(values, value_set=pa.array(list(self.counts), pa.string()))
            if len(values) - (pc.sum(known).as_py() or 0) + len(self.counts) > self.limit:
                self.sample = sorted([*self.rows, *values[:3].to_pylist()], key=len)[:3]
                self.counts = None
                return None
        counts = np.bincount(codes)
        firsts = rows[np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))]
        for text, count, row in zip(values.to_pylist(), counts, firsts, strict=True):
            self.counts[text] = self.counts.get(text, 0) + int(count)
            self.rows.setdefault(text, int(row))
        return values, counts, firsts


@dataclass
class Facts:
    """What was found in a column; `type` is None before there is a value.

    Of texts that are names (`is_name`) only lengths and different ones are of interest.
    """

    name: str
    distinct: Distinct
    decimal: str = "."
    is_name: bool = False
    type: FileType | None = None
    values: int = 0
    gaps: int = 0
    gap: First = field(default_factory=First)
    numbers: Range = field(default_factory=Range)
    truths: int = 0
    dates: dict[DateForm, Range] = field(
        default_factory=lambda: {"iso": Range(), "day_first": Range(), "month_first": Range()}
    )
    almost: dict[str, int] = field(default_factory=lambda: dict.fromkeys(texts.ALMOST_NUMBERS, 0))
    no_number: First = field(default_factory=First)
    no_truth: First = field(default_factory=First)
    no_date: dict[DateForm, First] = field(
        default_factory=lambda: {"iso": First(), "day_first": First(), "month_first": First()}
    )
    infinite: First = field(default_factory=First)
    inexact: First = field(default_factory=First)
    negative: First = field(default_factory=First)
    longest_bytes: int = 0

    def add(self, column: Any, rows: Integers) -> None:
        """Look at a piece (n,) of the column, in these rows (n,) of the file."""
        gaps = pc.is_null(column).to_numpy(zero_copy_only=False)
        self.gaps += int(gaps.sum())
        self.gap.note(gaps, rows, gaps)
        self.values += len(rows) - int(gaps.sum())
        if gaps.all():
            return
        if gaps.any():
            column, rows = column.drop_null(), rows[~gaps]
        self._set_type(_type(column))
        match self.type:
            case "text":
                self._add_texts(column, rows)
            case "boolean":
                self.distinct.add(pc.cast(column, pa.string()), rows)
            case "date":
                micros = column.cast(pa.int64()).to_numpy()
                self._add_dates("iso", micros, np.ones(len(rows), np.int64))
            case _:
                self._add_numbers(column, rows)

    def _set_type(self, type_: FileType) -> None:
        if self.type not in {None, type_}:
            raise InvalidError.field(
                "/table",
                f"Column {self.name} holds {self.type}s in some rows and {type_}s in others: write "
                f"one type throughout, or leave the column out with --drop {self.name}.",
            )
        self.type = type_

    def _add_numbers(self, column: Any, rows: Integers) -> None:
        values = column.to_numpy()
        if values.dtype.kind in "iu":
            wide = (values >= EXACT_INTEGERS) | (values <= -EXACT_INTEGERS)
            self.inexact.note(wide, rows, values)
        self._add_range(values.astype(np.float64), np.ones(len(rows), np.int64), rows)
        if self.numbers.integers and self.distinct.counts is not None:
            self.distinct.add(number_texts(column), rows)
        elif not self.numbers.integers:
            self.distinct.counts = None

    def _add_range(self, values: Floats, counts: Integers, rows: Integers) -> None:
        self.numbers.add(values, counts)
        if not np.isfinite([self.numbers.lowest, self.numbers.highest]).all():
            self.infinite.note(~np.isfinite(values), rows, values)
        if self.numbers.lowest < 0:
            self.negative.note(values < 0, rows, values)

    def _add_dates(self, form: DateForm, micros: Integers, counts: Integers) -> None:
        self.dates[form].add(micros / texts.DAY_MICROSECONDS, counts)

    def _add_texts(self, column: Any, rows: Integers) -> None:
        self.longest_bytes = max(self.longest_bytes, pc.max(pc.binary_length(column)).as_py())
        found = self.distinct.add(column, rows)
        if self.is_name:
            return
        if found is None:
            found = column, np.ones(len(rows), np.int64), rows
        column, counts, rows = found
        values = texts.numbers(column, self.decimal)
        other = np.isnan(values)
        are = ~other
        self._add_range(values[are], counts[are], rows[are])
        if max(self.numbers.highest, -self.numbers.lowest) >= EXACT_INTEGERS:
            whole = pc.match_substring_regex(column, r"^[+-]?\d+$").to_numpy(zero_copy_only=False)
            self.inexact.note(whole & (np.abs(values) >= EXACT_INTEGERS), rows, column)
        for first in (self.no_truth, *self.no_date.values()):
            first.note(are, rows, column)
        if other.any():
            self.no_number.note(other, rows, column)
            keep = pa.array(other)
            self._add_others(pc.filter(column, keep), counts[other], rows[other])

    def _add_others(self, column: Any, counts: Integers, rows: Integers) -> None:
        """Look at texts that are no numbers."""
        truth, _ = texts.truths(column)
        self.truths += int(counts[truth].sum())
        self.no_truth.note(~truth, rows, column)
        any_date = np.zeros(len(rows), np.bool_)
        for form, range_ in self.dates.items():
            micros = texts.instants(column, form)
            dates = micros != texts.NO_INSTANT
            range_.add(micros[dates] / texts.DAY_MICROSECONDS, counts[dates])
            self.no_date[form].note(~dates, rows, column)
            any_date |= dates
        rest = ~(truth | any_date)
        if rest.any():
            for name, are in texts.almost_numbers(pc.filter(column, pa.array(rest))).items():
                self.almost[name] += int(counts[rest][are].sum())


def _type(column: Any) -> FileType:
    if pa.types.is_string(column.type):
        return "text"
    if pa.types.is_boolean(column.type):
        return "boolean"
    return "date" if pa.types.is_timestamp(column.type) else "number"
