"""A dataset, and what was taken of each column of the table that it was made from."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from batchgrad.display.jobs import show_datasets
from batchgrad.display.numbers import NONE, number
from batchgrad.display.terminal import say, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchgrad.contract import ArrayInfo, Column, Dataset, Table

ARRAY_HEADING = ["array", "dtype", "shape"]
COLUMN_HEADING = ["column", "role", "kind", "gaps", "values", "inputs"]
_SHOWN = 4
_LONGEST = 40
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def show_table(dataset: "Dataset") -> None:
    """Print the dataset, then a row for each array or column, and what is doubtful."""
    show_datasets([dataset])
    if has_other_arrays(dataset.arrays):
        say("")
        table(ARRAY_HEADING, [array_cells(array) for array in dataset.arrays])
    if dataset.table is None:
        return
    of = dataset.table
    if of.columns:
        say("")
        table(COLUMN_HEADING, [column_cells(column, of) for column in of.columns])
    if of.classes is not None:
        say(f"Classes: {_some(of.classes)}.")
    if of.dropped:
        say(f"Not used: {_some(of.dropped)}.")
    for warning in of.warnings:
        say(f"Warning: {warning}")


def has_other_arrays(arrays: "Sequence[ArrayInfo]") -> bool:
    """Whether there are others than inputs and targets."""
    return not {array.name for array in arrays} <= {"inputs", "targets"}


def array_cells(array: "ArrayInfo") -> list[str]:
    """An array's name, type and shape, under ARRAY_HEADING."""
    return [array.name, array.dtype, str(tuple(array.shape))]


def column_cells(column: "Column", of: "Table") -> list[str]:
    """What was taken of a column of the table `of`, under COLUMN_HEADING."""
    gaps, values = _gaps(column, of), _values(column)
    return [column.name, column.role, column.kind, gaps, values, _inputs(column)]


def _gaps(column: "Column", of: "Table") -> str:
    """How many gaps there are, and what becomes of them."""
    if column.kind == "category":
        return f"{column.missing}, a category of their own" if column.missing else NONE
    rule = column.missing_rule
    by = f"{of.constant:g}" if rule == "constant" else rule
    if column.missing:
        return f"{column.missing}, filled by {by}"
    if rule == "refuse":
        return NONE
    return f"0, later ones filled by {'mean' if rule == 'indicator' else by}"


def _values(column: "Column") -> str:
    """The categories of a column, or its range."""
    if column.categories is not None:
        return f"{len(column.categories)}: {_some(column.categories)}"
    if column.lowest is None or column.highest is None:
        return NONE
    shown = _date if column.kind == "date" else number
    return f"{shown(column.lowest)} to {shown(column.highest)}"


def _date(days: float) -> str:
    """A date, of days since 1970."""
    try:
        return (_EPOCH + timedelta(days=days)).date().isoformat()
    except OverflowError:  # typed files have years beyond 9999
        return f"day {days:.0f}"


def _inputs(column: "Column") -> str:
    """How many inputs of a network the column becomes, and their names."""
    if not column.inputs:
        return NONE
    return f"{len(column.inputs)}: {_some(column.inputs)}"


def _some(texts: "Sequence[str]") -> str:
    shown = [text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…" for text in texts[:_SHOWN]]
    return ", ".join(shown) + (", …" if len(texts) > _SHOWN else "")
