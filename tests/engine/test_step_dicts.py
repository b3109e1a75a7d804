"""Step rows as dicts are those of `StepRow`, and as strictly checked."""

from random import Random
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from batchgrad.contract import StepRow
from batchgrad_engine.step_dicts import StepDict
from tests.service.test_step_blocks import drawn

ROWS = TypeAdapter(list[StepDict])


def drawn_rows() -> list[dict[str, Any]]:
    return [drawn(Random(step), step) for step in range(50)]


def test_rows_are_what_step_row_gives() -> None:
    least = {key: value for key, value in drawn_rows()[0].items() if key in required()}
    rows = [*drawn_rows(), {**drawn_rows()[0], "norms": None, "loss": None}, least]
    expected = [StepRow.model_validate(row).model_dump() for row in rows]
    assert ROWS.validate_json(orjson.dumps(rows)) == expected
    assert ROWS.validate_python(rows) == expected


def test_unknown_keys_are_dropped_at_any_depth() -> None:
    [row] = drawn_rows()[:1]
    shortcuts = {name: {**each, "newer": 1} for name, each in row["shortcuts"].items()}
    newer = {**row, "newer": 1, "shortcuts": shortcuts}
    assert ROWS.validate_json(orjson.dumps([newer])) == ROWS.validate_python([row])


def required() -> set[str]:
    return {name for name, field in StepRow.model_fields.items() if field.is_required()}


@pytest.mark.parametrize("name", sorted(required()))
def test_a_row_without_a_required_figure_is_refused(name: str) -> None:
    [row] = drawn_rows()[:1]
    with pytest.raises(ValidationError, match=name):
        ROWS.validate_json(orjson.dumps([{key: row[key] for key in row if key != name}]))


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
def test_a_row_with_a_wrong_value_is_refused(wrong: dict[str, Any]) -> None:
    [row] = drawn_rows()[:1]
    with pytest.raises(ValidationError):
        StepRow.model_validate({**row, **wrong})
    with pytest.raises(ValidationError):
        ROWS.validate_json(orjson.dumps([{**row, **wrong}]))
