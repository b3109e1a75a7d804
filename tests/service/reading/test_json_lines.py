"""JSON lines are read with one type for each column."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchgrad_service.reading.formats.json_lines import table
from tests.service.reading.files import columns, opened


def lines(*objects: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def test_types_keys_and_gaps(tmp_path: Path) -> None:
    content = (
        b'\xef\xbb\xbf{"n": 1, "x": 1, "t": "a", "b": true}\n\n'
        b' {"n": 9007199254740993, "x": 0.5, "t": null, "later": "\\"n\\": 1"}\r\n{"x": NaN}'
    )
    source = opened(tmp_path / "file", content, "a.jsonl")
    assert source.rows == 3
    assert not source.is_text
    assert columns(source) == {
        "n": [1, 2**53 + 1, None],
        "x": [1.0, 0.5, None],
        "t": ["a", None, None],
        "b": [True, None, None],
        "later": [None, '"n": 1', None],
    }
    assert source.place(3) == "row 3 (line 4)"
    assert [str(field.type) for field in next(iter(source.batches())).schema] == [
        "int64", "double", "string", "bool", "string",
    ]  # fmt: skip


def test_a_column_without_values_is_null(tmp_path: Path) -> None:
    source = opened(tmp_path / "file", lines({"a": None, "b": 1}), "a.json")
    assert next(iter(source.batches())).schema.field("a").type == pa.null()


def test_a_column_that_is_left_out_may_be_nested(tmp_path: Path) -> None:
    source = opened(tmp_path / "file", lines({"a": {"x": 1}, "b": 1}, {"a": 3, "b": 2}), "a.jsonl")
    assert columns(source, ["b"]) == {"b": [1, 2]}


def test_keys_that_come_late_and_integers_among_numbers(tmp_path: Path) -> None:
    first = [{"a": n} for n in range(30_000)]
    content = lines(*first, {"z": "x" * 5_000_000, "a": 0.5}, {"z": "y"})
    source = opened(tmp_path / "file", content, "a.jsonl")
    read = columns(source)
    assert read["a"] == [*map(float, range(30_000)), 0.5, None]
    assert [None if text is None else text[0] for text in read["z"]] == [None] * 30_000 + ["x", "y"]
    assert len(list(source.batches())) > 1


values = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4, unique=True),
    data=st.data(),
)
def test_what_pythons_json_wrote_is_read(
    tmp_path: Path, keys: list[str], data: st.DataObject
) -> None:
    kinds = st.sampled_from([st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=5)])
    columns_ = {key: st.none() | data.draw(kinds) for key in keys}
    rows = data.draw(st.lists(st.fixed_dictionaries({}, optional=columns_), min_size=1))
    found = list(dict.fromkeys(key for row in rows for key in row))
    if not found:
        return
    source = opened(tmp_path / "file", lines(*rows), "a.jsonl")
    assert columns(source) == {key: [row.get(key) for row in rows] for key in found}


def test_a_piece_has_few_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_PIECE_VALUES", 8)
    source = opened(tmp_path / "file", lines(*[{"a": 1, "b": 2}] * 10), "a.jsonl")
    assert [batch.num_rows for batch in source.batches()] == [5, 5]


def test_it_is_recognised_without_a_name(tmp_path: Path) -> None:
    source = opened(tmp_path / "file", b'\xef\xbb\xbf \n{"a": 1}\n', "")
    assert columns(source) == {"a": [1]}
