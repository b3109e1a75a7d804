"""A table with every kind of column and rule, its stored rows, and the values behind them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract import Column, Table
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.tables.network_inputs import input_names

COLORS = ["blue", "green", "red", "violet"]


@dataclass(frozen=True)
class TableRows:
    """`raw` (n, columns) are the stored rows of `table`."""

    table: Table
    raw: Array

    def column(self, name: str) -> Array:
        return self.raw[:, [column.name for column in self.table.inputs].index(name)]


def table_of(columns: list[dict[str, Any]], **options: Any) -> Table:
    """A table of input columns; each has its `inputs`."""
    dates = options.get("dates", "days")
    made = [Column.model_validate({"role": "input", "missing": 0, **each}) for each in columns]
    named = [each.model_copy(update={"inputs": input_names(each, dates)}) for each in made]
    return Table(columns=named, **options)


def table_rows(examples: int = 400, seed: int = 0, **options: Any) -> TableRows:
    """Columns of each kind, a fifth of the values are gaps; numbers not around 0."""
    random = np.random.default_rng(seed)
    table = table_of(
        [
            {"name": "age", "kind": "number", "missing_rule": "mean", "missing": 80},
            {"name": "income", "kind": "number", "missing_rule": "median", "missing": 80},
            {"name": "height", "kind": "number", "missing_rule": "constant", "missing": 80},
            {"name": "debt", "kind": "number", "missing_rule": "indicator", "missing": 80},
            {"name": "whole", "kind": "number", "missing_rule": "indicator"},
            {"name": "member", "kind": "boolean", "missing_rule": "indicator"},
            {"name": "color", "kind": "category", "categories": COLORS, "missing": 80},
            {"name": "city", "kind": "category", "categories": ["Ulm", "Wien", "Zug"]},
            {"name": "since", "kind": "date", "has_times": True, "missing_rule": "mean"},
        ],
        **options,
    )
    numbers = random.normal(5, 3, size=(examples, 5))
    codes = random.integers(0, [2, 4, 3], size=(examples, 3))
    dates = random.integers(0, 10**6, size=(examples, 1)) / 24
    raw = np.hstack([numbers, codes, dates])
    for name in ("age", "income", "height", "debt", "color"):
        gaps = random.choice(examples, examples // 5, replace=False)
        raw[gaps, [column.name for column in table.inputs].index(name)] = np.nan
    return TableRows(table, raw)


def content(rows: TableRows, targets: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a dataset's content directory."""
    text = rows.table.model_dump_json().encode()
    return {"inputs": rows.raw, "targets": targets, "table": np.frombuffer(text, np.uint8)}
