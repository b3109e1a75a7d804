"""Rows of other files that have a dataset's columns."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchgrad.contract.tables import Table, TextOptions
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.rows import RawRows, conformed, ignored
from tests.service.reading.memory_tables import MemoryTable, imported, text_table, typed_table

COLUMNS = {
    "age": "31 45.5 20",
    "city": "Rome Oslo Rome",
    "when": "28/11/2026 01/02/2026 03/02/2026",
    "ok": "yes no yes",
    "kind": "setosa other setosa",
    "id": "a b c",
    "note": "x y z",
    "w": "1 2 0.5",
}
OPTIONS: dict[str, Any] = {"target": "kind", "id": "id", "weight": "w", "drop": ["note"]}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    content = imported(text_table(COLUMNS), tmp_path, **OPTIONS)
    assert content.table is not None
    return content.table


def rows(source: MemoryTable, table: Table, *, targets: bool = False, **text: Any) -> RawRows:
    [found] = conformed(source, table, TextOptions(**text), with_targets=targets)
    return found


def test_the_datasets_own_file_gives_its_own_rows(table: Table, tmp_path: Path) -> None:
    found = rows(text_table(COLUMNS), table, targets=True)
    np.testing.assert_array_equal(found.inputs, np.load(tmp_path / "inputs.npy"))
    assert found.targets is not None
    np.testing.assert_array_equal(found.targets, np.load(tmp_path / "targets.npy"))
    assert found.weights is not None
    assert found.weights.tolist() == [1, 2, 0.5]
    assert found.ids is not None
    assert found.ids.tolist() == [b"a", b"b", b"c"]
    assert found.unknown == {}


def test_columns_are_found_by_name_and_typed_files_fit_too(table: Table) -> None:
    source = typed_table(
        {
            "extra": [1],
            "note": ["which the dataset dropped"],
            "ok": [False],
            "when": np.array(["2026-11-28"], "datetime64[us]"),
            "city": ["Bergen"],
            "age": [7],
        }
    )
    found = rows(source, table)
    assert found.inputs.tolist() == [[7, 2, 20785, 0]]  # 2: none of the two categories
    assert found.unknown == {"city": 1}
    assert (found.targets, found.weights, found.ids) == (None, None, None)
    assert ignored(source, table) == ["extra"]


def test_gaps_are_gaps(table: Table) -> None:
    source = text_table({"age": "NA", "city": "?", "when": [""], "ok": "null"})
    assert np.isnan(rows(source, table).inputs).all()


def test_a_row_without_an_id_has_an_empty_one(table: Table) -> None:
    hidden = pa.array(["ab", "c"]).buffers()  # Arrow may keep a text where it says null
    hidden[0] = pa.py_buffer(bytes([0b10]))
    ids = pa.Array.from_buffers(pa.string(), 2, hidden)
    columns = {key: value.split(" ")[:2] for key, value in COLUMNS.items()}
    source = MemoryTable(pa.table({**columns, "id": ids}), is_text=True)
    found = rows(source, table)
    assert found.ids is not None
    assert found.ids.tolist() == [b"", b"c"]


def test_classes_that_are_numbers_are_found_as_numbers(tmp_path: Path) -> None:
    content = imported(text_table({"a": "1 2 3", "y": "1 3 10"}), tmp_path, target="y")
    assert content.table is not None
    found = rows(text_table({"a": "1 2", "y": "10.0 3"}), content.table, targets=True)
    assert found.targets is not None
    assert found.targets.tolist() == [2, 1]
    for wrong in ("2", "11"):
        with pytest.raises(InvalidError, match=f"'{wrong}'.*one of the classes 1, 3, 10"):
            rows(text_table({"a": "1", "y": wrong}), content.table, targets=True)


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "missing column": ({"ages": "1"}, {}, "no column age.*did you mean ages"),
    "text in a number": ({"age": "old"}, {}, r"Column age is 'old' in row 1 \(line 2\).*number"),
    "decimal comma": ({"age": "1,5"}, {}, "'1,5'.*--decimal ,"),
    "infinity": ({"age": "inf"}, {}, "'inf'.*expected a number"),
    "not a boolean": ({"ok": "maybe"}, {}, "'maybe'.*expected true or false"),
    "other date form": ({"when": "11/28/2026"}, {}, "'11/28/2026'.*day, month, year"),
    "unknown class": ({"kind": "virginica"}, {}, "'virginica'.*one of the classes other, setosa"),
    "no class": ({"kind": [""]}, {}, r"kind, the target, has no value in row 1 \(line 2\)"),
    "negative weight": ({"w": "-1"}, {}, "'-1'.*0 or more"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_named_with_its_row(name: str, table: Table) -> None:
    changes, text, message = WRONG[name]
    columns = {key: value.split(" ")[:1] for key, value in COLUMNS.items()} | changes
    if name == "missing column":
        del columns["age"]
    with pytest.raises(InvalidError, match=message):
        rows(text_table(columns), table, targets=True, **text)
