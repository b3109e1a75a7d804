"""A dataset, and what was taken of each column of the table that it was made from."""

from typing import TYPE_CHECKING

from batchgrad.display.jobs import show_datasets
from batchgrad.display.numbers import NONE, number
from batchgrad.display.terminal import say, table

if TYPE_CHECKING:
    from batchgrad.contract import Column, Dataset

_SHOWN = 4


def show_table(dataset: "Dataset") -> None:
    """Print the dataset, then a row for each column of its table."""
    show_datasets([dataset])
    if dataset.table is None:
        return
    say("")
    table(
        ["column", "role", "kind", "gaps", "values"],
        [
            [
                column.name,
                column.role,
                column.kind,
                f"{column.missing} ({column.missing_rule})" if column.missing else NONE,
                _values(column),
            ]
            for column in dataset.table.columns
        ],
    )
    if dataset.table.classes is not None:
        say(f"Classes: {_some(dataset.table.classes)}.")
    if dataset.table.dropped:
        say(f"Not used: {_some(dataset.table.dropped)}.")


def _values(column: "Column") -> str:
    """The categories of a column, or its range."""
    if column.categories is not None:
        return f"{len(column.categories)}: {_some(column.categories)}"
    if column.lowest is None or column.highest is None:
        return NONE
    return f"{number(column.lowest)} to {number(column.highest)}"


def _some(texts: list[str]) -> str:
    return ", ".join(texts[:_SHOWN]) + (", …" if len(texts) > _SHOWN else "")
