"""The table that `datasets show` and `push` print of a dataset's columns."""

from typing import Any

import pytest

from batchgrad.contract import Column, Dataset, Table
from batchgrad.display.data.dataset_table import show_table

COLUMNS = [
    Column(name="kind", role="target", kind="category", missing=0),
    Column(
        name="age",
        role="input",
        kind="number",
        missing=3,
        missing_rule="mean",
        lowest=1.5,
        highest=90,
        inputs=["age"],
    ),
    Column(
        name="city",
        role="input",
        kind="category",
        missing=2,
        categories=["Oslo", "Rome"],
        inputs=["city=Oslo", "city=Rome", "city=(missing)", "city=(other)"],
    ),
    Column(
        name="day",
        role="input",
        kind="date",
        missing=0,
        missing_rule="indicator",
        lowest=19723,
        highest=1e9,
        inputs=["day"],
    ),
]


def test_a_row_for_each_column(kit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(
        columns=COLUMNS,
        classes=["other", "setosa"],
        dropped=["notes"],
        warnings=["Column age is strange."],
    )
    show_table(Dataset.model_validate(kit.DATASET | {"table": table}))
    shown = capsys.readouterr()
    lines = {line.split()[0]: line for line in shown.out.splitlines() if line.strip()}
    assert "3, filled by mean" in lines["age"]
    assert "1.5 to 90" in lines["age"]
    assert "2, a category of their own" in lines["city"]
    assert "4: city=Oslo, city=Rome, city=(missing), city=(other)" in lines["city"]
    assert "0, later ones filled by mean" in lines["day"]
    assert "2024-01-01 to day 1000000000" in lines["day"]
    assert "Classes: other, setosa." in shown.err
    assert "Not used: notes." in shown.err
    assert "Warning: Column age is strange." in shown.err


def test_classes_of_pictures_have_no_columns(kit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(columns=[], classes=["cat", "dog"])
    show_table(Dataset.model_validate(kit.DATASET | {"table": table}))
    shown = capsys.readouterr()
    assert "column" not in shown.out
    assert "Classes: cat, dog." in shown.err
