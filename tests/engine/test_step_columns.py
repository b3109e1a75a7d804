"""Step rows by columns hold the rows of `StepRow`, and are as strictly checked."""

from random import Random
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from batchgrad.contract import StepRow
from batchgrad_engine.step_columns import (
    Columns,
    RowView,
    StepColumns,
    columns_of,
    cut,
    joined,
    rows_of,
)
from tests.service.test_step_blocks import drawn

COLUMNS = TypeAdapter(list[StepColumns])


def drawn_rows() -> list[dict[str, Any]]:
    return [drawn(Random(step), step) for step in range(50)]


def read(parts: list[Columns]) -> list[dict[str, Any]]:
    """The rows that the service finds in what the engine sends."""
    found = COLUMNS.validate_json(orjson.dumps(parts))
    return [row for columns in found for row in rows_of(columns)]


@pytest.mark.parametrize("measured", [1, 7, 50])
def test_rows_come_out_as_they_went_in(measured: int) -> None:
    """Rows with other keys or lengths than their neighbours are in a part of their own."""
    rows = drawn_rows()
    parts = [
        part
        for at in range(0, len(rows), measured)
        for part in columns_of(rows[at : at + measured])
    ]
    together = joined(parts)
    assert 1 < len(together) <= len(parts)
    assert read(together) == rows


def test_a_view_of_one_row_has_its_values() -> None:
    rows = [drawn(Random(1), step) for step in (1, 2, 3)]
    [columns] = columns_of(rows)
    assert [dict(RowView(columns, place)) for place in range(3)] == rows


def test_rows_of_one_kind_are_one_part_and_equal_values_one_value() -> None:
    rows = [drawn(Random(step), step) for step in (1, 2, 3, 4)]
    [columns] = joined(columns_of(rows[:2]) + columns_of(rows[2:]))
    assert columns["step"] == (1, 2, 3, 4)
    assert columns["epoch"] == 0
    assert columns["weight"] == (64.0, 64.0, 64.0, 64.0)  # a float may be -0.0 and 0.0
    assert rows_of(columns) == rows
    assert rows_of(cut(columns, slice(1, 3))) == rows[1:3]


def test_rows_are_what_step_row_gives() -> None:
    least = {key: value for key, value in drawn_rows()[0].items() if key in required()}
    rows = [{**drawn_rows()[0], "norms": None, "loss": None}, least]
    expected = [StepRow.model_validate(row).model_dump() for row in rows]
    parts = columns_of(rows)
    assert read(parts) == expected
    found = COLUMNS.validate_python(parts)
    assert [row for columns in found for row in rows_of(columns)] == expected


def test_unknown_keys_are_dropped_at_any_depth() -> None:
    row = drawn_rows()[1]
    shortcuts = {name: {**each, "newer": 1} for name, each in row["shortcuts"].items()}
    assert read(columns_of([{**row, "newer": 1, "shortcuts": shortcuts}])) == [row]


def required() -> set[str]:
    return {name for name, field in StepRow.model_fields.items() if field.is_required()}


@pytest.mark.parametrize("name", sorted(required()))
def test_columns_without_a_required_figure_are_refused(name: str) -> None:
    [columns] = columns_of(drawn_rows()[1:2])
    del columns[name]
    with pytest.raises(ValidationError, match=name):
        read([columns])


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": "three"},
        {"step": 1.5},
        {"loss": "low"},
        {"time": "yesterday"},
        {"norms": {"quantiles": {}, "histogram": [0.5], "largest": []}},
        {"norms": {"quantiles": {}, "histogram": [], "largest": [{"example": 1}]}},
        {"shortcuts": {"averaged_error": {"relative_error": 1.0}}},
        {"shortcuts": []},
    ],
)
def test_a_wrong_value_is_refused(wrong: dict[str, Any]) -> None:
    row = drawn_rows()[1]
    with pytest.raises(ValidationError):
        StepRow.model_validate({**row, **wrong})
    with pytest.raises(ValidationError):
        read(columns_of([{**row, **wrong}]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": (1.0,)}, "A column has 1 values, step has 2"),
        ({"step": 1}, "step must be a list"),
        ({"step": ()}, "step must be a list"),
    ],
)
def test_columns_of_unequal_length_are_refused(changes: dict[str, Any], message: str) -> None:
    [columns] = columns_of([drawn(Random(step), step) for step in (1, 2)])
    with pytest.raises(ValidationError, match=message):
        read([{**columns, **changes}])
