"""Any table: the stored rows decode to its values, in every format, whatever the batches are."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv, feather, parquet

from batchgrad.contract import ImportRequest
from batchgrad.contract.tables import Column
from batchgrad_service.datasets.validation import Content
from batchgrad_service.reading.importing import import_file
from batchgrad_workers.data.dataset import StoredDataset
from tests.service.reading.memory_tables import MemoryTable, imported, request, typed_table

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WORDS = st.text("abcXYZ äß漢", max_size=5).map(lambda text: f"k{text}k")
VALUES: dict[str, tuple[st.SearchStrategy[Any], pa.DataType]] = {
    "number": (st.floats(allow_nan=False, allow_infinity=False), pa.float64()),
    "integer": (st.integers(-(2**53) + 1, 2**53 - 1), pa.int64()),
    "boolean": (st.booleans(), pa.bool_()),
    "category": (WORDS, pa.string()),
    "date": (
        st.dates(datetime(1700, 1, 1).date(), datetime(2200, 1, 1).date()),  # noqa: DTZ001
        pa.date32(),
    ),
    "time": (
        st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001
            lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
        ),  # days as float64 are exact to a microsecond or so
        pa.timestamp("us"),
    ),
}
KINDS = {"integer": "number", "time": "date"}
OPTIONS: dict[str, Any] = {"target": "y", "id": "i", "missing": "mean", "max_categories": 10_000}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A table with an id, a target, and a column of each kind, with gaps but in the first row."""
    rows = draw(st.integers(1, 20))
    columns = {
        "i": pa.array([f"é{row}" for row in range(rows)]),
        "y": pa.array(draw(st.lists(WORDS, min_size=rows, max_size=rows))),
    }
    for name, (values, type_) in VALUES.items():
        first = draw(values)
        more = st.lists(st.none() | values, min_size=rows - 1, max_size=rows - 1)
        columns[name] = pa.array([first, *draw(more)], type_)
    return pa.table(columns)


@contextmanager
def new_folder() -> Iterator[Path]:
    path = Path(mkdtemp())
    try:
        yield path
    finally:
        shutil.rmtree(path)


def decoded(column: Column, stored: np.ndarray[Any, Any]) -> list[Any]:
    """The values that the stored numbers stand for."""

    def one(number: float) -> Any:
        if np.isnan(number):
            return None
        match column.kind:
            case "category":
                return (column.categories or [])[int(number)]
            case "boolean":
                return bool(number)
            case "date":
                return EPOCH + timedelta(milliseconds=round(float(number) * 86_400_000))
            case _:
                return float(number)

    return [one(number) for number in stored]


def expected(values: list[Any]) -> list[Any]:
    def one(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC)
        if hasattr(value, "year"):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        return value

    return [one(value) for value in values]


def assert_same(table: pa.Table, content: Content, folder: Path) -> None:
    stored = StoredDataset.open(folder)
    assert content.table is not None
    assert stored.ids is not None
    assert [id_.decode() for id_ in stored.ids] == table["i"].to_pylist()
    assert content.table.classes == sorted(set(table["y"].to_pylist()))
    assert [content.table.classes[n] for n in stored.targets] == table["y"].to_pylist()
    assert [column.name for column in content.table.inputs] == list(VALUES)
    for index, column in enumerate(content.table.inputs):
        assert column.kind == KINDS.get(column.name, column.name)
        assert column.missing == table[column.name].null_count
        values = expected(table[column.name].to_pylist())
        assert decoded(column, stored.inputs[:, index]) == values
        if column.kind == "category":
            assert column.categories == sorted(set(values) - {None})


@settings(max_examples=25)
@given(tables(), st.integers(1, 7))
def test_batches_of_any_size_give_the_same_content(table: pa.Table, batch_rows: int) -> None:
    with new_folder() as whole, new_folder() as parts:
        content = imported(MemoryTable(table, is_text=False), whole, **OPTIONS)
        assert_same(table, content, whole)
        small = MemoryTable(table, is_text=False, batch_rows=batch_rows)
        assert imported(small, parts, **OPTIONS) == content


def _write_csv(table: pa.Table, path: Path) -> None:
    csv.write_csv(table, path)


def _write_json(table: pa.Table, path: Path) -> None:
    lines = [json.dumps(row, default=str) for row in table.to_pylist()]
    path.write_text("\n".join(lines) + "\n")


FORMATS: dict[str, Callable[[pa.Table, Path], None]] = {
    "csv": _write_csv,
    "jsonl": _write_json,
    "parquet": parquet.write_table,
    "arrow": feather.write_feather,
}


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=15)
@given(table=tables())
def test_every_format_keeps_the_values(format_: str, table: pa.Table) -> None:
    with new_folder() as folder:
        path = folder / "table"
        FORMATS[format_](table, path)
        (folder / "content").mkdir()
        content = import_file(
            path, _request(format_), folder / "content", max_bytes=2**20, progress=lambda *_: None
        )
        assert_same(table, content, folder / "content")


def _request(format_: str) -> ImportRequest:
    asked = request(**OPTIONS)
    return asked.model_copy(update={"file": asked.file.model_copy(update={"format": format_})})


@settings(max_examples=20)
@given(st.permutations(["b", "ä", "B", "a", "10", "9"]))
def test_categories_are_sorted_whatever_the_order_of_rows(texts: list[str]) -> None:
    with new_folder() as folder:
        table = typed_table({"c": texts, "y": ["u", "v"] * 3})
        content = imported(table, folder, target="y", kinds={"c": "category"})
    assert content.table is not None
    assert content.table.inputs[0].categories == ["10", "9", "B", "a", "b", "ä"]
