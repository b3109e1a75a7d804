"""Parquet and Arrow files: values, types, gaps, and the size of batches."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchgrad_service.problems import InvalidError
from tests.service.reading.files import as_arrow, as_parquet, columns, opened

NOON = dt.datetime(2026, 3, 1, 12, 0, 0)  # noqa: DTZ001 (a file's times may have no zone)
DAY = dt.date(2026, 3, 1)

VALUES: dict[str, tuple[pa.Array, str, list[Any]]] = {
    "int8": (pa.array([1, None], pa.int8()), "int8", [1, None]),
    "uint64": (pa.array([2**64 - 1, 0], pa.uint64()), "uint64", [2**64 - 1, 0]),
    "half": (pa.array([0.5, np.nan], pa.float16()), "float", [0.5, None]),
    "float": (pa.array([0.5, np.nan], pa.float32()), "float", [0.5, None]),
    "double": (pa.array([np.nan, None]), "double", [None, None]),
    "decimal": (pa.array([Decimal("1.25"), None]), "double", [1.25, None]),
    "boolean": (pa.array([True, None]), "bool", [True, None]),
    "text": (pa.array(["ü", None]), "string", ["ü", None]),
    "large": (pa.array(["x", None], pa.large_string()), "string", ["x", None]),
    "bytes": (pa.array([b"x", None]), "string", ["x", None]),
    "category": (pa.array(["x", None, "x"]).dictionary_encode()[1:], "string", [None, "x"]),
    "day": (pa.array([DAY, None]), "date32[day]", [DAY, None]),
    "day in ms": (pa.array([DAY, None], pa.date64()), "date32[day]", [DAY, None]),
    "time": (pa.array([NOON, None], pa.timestamp("s")), "timestamp[us]", [NOON, None]),
    "null": (pa.nulls(2), "null", [None, None]),
}
ZONED = pa.array([NOON, None], pa.timestamp("ns", "Europe/Rome"))
RUNS = pa.RunEndEncodedArray.from_arrays([1, 2], pa.array(["x", "y"]))
VIEWS = pa.DictionaryArray.from_arrays(  # as polars writes its categories
    pa.array([0, None], pa.uint32()), pa.array(["x", "y"], pa.string_view())
)
VIEW = pa.array(["x", None], pa.string_view())


@pytest.mark.parametrize("write", [as_parquet, as_arrow])
def test_values_and_types(tmp_path: Path, write: Any) -> None:
    table = pa.table({name: array for name, (array, _, _) in VALUES.items()})
    source = opened(tmp_path / "file", write(table), "a")
    assert not source.is_text
    assert columns(source) == {name: values for name, (_, _, values) in VALUES.items()}
    schema = next(iter(source.batches())).schema
    assert [str(field.type) for field in schema] == [kind for _, kind, _ in VALUES.values()]
    assert source.place(2) == "row 2"


def test_categories_may_be_views_as_polars_writes_them(tmp_path: Path) -> None:
    source = opened(tmp_path / "file", as_arrow(pa.table({"c": VIEWS})), "a")
    assert columns(source) == {"c": ["x", None]}


def test_times_with_a_zone_become_utc(tmp_path: Path) -> None:
    source = opened(tmp_path / "file", as_parquet(pa.table({"t": ZONED})), "a.parquet")
    (batch,) = source.batches()
    assert str(batch.schema.field("t").type) == "timestamp[us, tz=UTC]"
    assert batch["t"][0].value == int(NOON.replace(tzinfo=dt.UTC).timestamp() * 1e6)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_arrow_files_and_streams(tmp_path: Path, *, stream: bool, compression: str | None) -> None:
    table = pa.table({"a": [1, 2, 3], "v": pa.array(["x", None, "y"], pa.string_view())})
    content = as_arrow(table, stream=stream, compression=compression)
    source = opened(tmp_path / "file", content, "a.feather")
    assert columns(source) == columns(source) == table.to_pydict()


def test_run_ends_are_decoded(tmp_path: Path) -> None:
    source = opened(tmp_path / "file", as_arrow(pa.table({"r": RUNS})), "a.arrow")
    assert columns(source) == {"r": ["x", "y"]}


@pytest.mark.parametrize("write", [as_parquet, as_arrow])
def test_the_chosen_columns_alone_are_checked(tmp_path: Path, write: Any) -> None:
    table = pa.table({"tags": [[1]], "b": [2], "a.b": [3], "s": [{"b": 1}]})
    source = opened(tmp_path / "file", write(table), "a")
    assert columns(source, ["a.b", "b"]) == {"a.b": [3], "b": [2]}


@pytest.mark.parametrize("write", [as_parquet, as_arrow])
def test_a_huge_batch_is_cut(tmp_path: Path, write: Any) -> None:
    rows = 300_000
    table = pa.table({"n": np.arange(rows), "t": ["x" * 100] * rows})
    content = write(table, row_group_size=rows) if write is as_parquet else write(table)
    batches = list(opened(tmp_path / "file", content, "a").batches())
    assert max(batch.nbytes for batch in batches) < 2**24
    assert pa.Table.from_batches(batches).equals(table)


def test_long_repeated_texts_of_a_dictionary_are_cut(tmp_path: Path) -> None:
    table = pa.table({"t": pa.array(["x" * 10_000, "y"] * 5_000)})
    content = as_parquet(table)
    assert len(content) < 100_000  # the text is there once
    batches = list(opened(tmp_path / "file", content, "a").batches())
    assert max(batch.nbytes for batch in batches) < 2**24
    assert sum(batch.num_rows for batch in batches) == 10_000


def test_a_page_that_the_disk_has_changed_is_refused(tmp_path: Path) -> None:
    plain = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    content = as_parquet(pa.table({"t": ["abcdefgh"]}), write_statistics=False, **plain)
    assert content.count(b"abcdefgh") == 1
    source = opened(tmp_path / "file", content.replace(b"abcdefgh", b"abcdefgX"), "a.parquet")
    with pytest.raises(InvalidError, match=r"cannot be read.*write it again"):
        columns(source)
