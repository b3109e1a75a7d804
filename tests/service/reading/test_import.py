"""Arrays that an import stores beside the inputs; dates in all their forms; numbered classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.importing import import_file, import_table
from batchgrad_service.reading.values.texts import NO_INSTANT, DateForm, instants
from batchgrad_workers.data.dataset import StoredDataset
from tests.service.reading.memory_tables import imported, request, text_table, typed_table


def test_units_and_sets_are_stored(tmp_path: Path) -> None:
    columns = {"a": "1 2 3 4", "y": "u v v u", "p": "z b z c", "s": "train VAL test true"}
    imported(text_table(columns, batch_rows=1), tmp_path, target="y", units="p", split="s")
    stored = StoredDataset.open(tmp_path)
    assert stored.units is not None
    assert stored.units.tolist() == [0, 1, 0, 2]
    assert stored.split is not None
    assert stored.split.tolist() == [0, 1, 2, 1]


def test_sets_of_many_words(tmp_path: Path) -> None:
    columns = {"a": "1 2 3 4", "y": "u v v u", "s": "train VAL test true"}
    imported(text_table(columns), tmp_path, target="y", split="s")
    assert np.load(tmp_path / "split.npy").tolist() == [0, 1, 2, 1]


def test_rows_are_numbered_over_all_batches(tmp_path: Path) -> None:
    table = typed_table({"a": [1.0, 2.0, 3.0, np.inf], "y": ["u", "v"] * 2}, batch_rows=2)
    with pytest.raises(InvalidError, match="in row 4,"):
        imported(table, tmp_path, target="y")


def test_warnings_are_no_part_of_the_content(tmp_path: Path) -> None:
    content = imported(text_table({"a": "1 1", "y": "u v"}), tmp_path, target="y")
    assert content.table is not None
    assert content.table.warnings
    stored = StoredDataset.open(tmp_path).table
    assert stored is not None
    assert stored.warnings == []


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_whole_numbers_may_be_floats_of_any_precision(kind: Any, tmp_path: Path) -> None:
    table = typed_table({"a": np.array([1, 2, 3], kind), "y": np.array([0, 1, 0], kind)})
    content = imported(table, tmp_path, target="y", target_kind="classes")
    assert content.table is not None
    assert content.table.classes == ["0", "1"]
    assert np.load(tmp_path / "inputs.npy").tolist() == [[1], [2], [3]]


@pytest.mark.parametrize("is_text", [True, False])
def test_progress_rises_to_the_number_of_rows(is_text: bool, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    columns: dict[str, Any] = {"a": ["1", "2", "3", "4"], "y": ["u", "v"] * 2}
    table = (text_table if is_text else typed_table)(columns, batch_rows=1)
    import_table(
        table,
        request(target="y"),
        tmp_path,
        max_bytes=2**20,
        progress=lambda done, rows: seen.append((done, rows)),
    )
    assert seen[-1] == (4, 4)
    halves = [done for done, rows in seen if rows is not None]
    assert halves == sorted(halves)


def test_options_of_columns_are_refused_for_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", inputs=np.ones((2, 1)), targets=np.ones(2))
    asked = request(target="y")
    with pytest.raises(InvalidError, match=r"target is about columns.*leave it out") as caught:
        import_file(tmp_path / "a.npz", asked, tmp_path, max_bytes=2**20, progress=lambda *_: None)
    assert caught.value.errors[0].pointer == "/table/target"


def test_whole_numbers_are_names_without_a_point_or_an_exponent(tmp_path: Path) -> None:
    table = typed_table({"a": [1, 2, 3], "y": ["u", "v", "u"], "i": [1e10, 3.0, 2.5]})
    imported(table, tmp_path, target="y", id="i")
    assert np.load(tmp_path / "ids.npy").tolist() == [b"10000000000", b"3", b"2.5"]


def test_dates_are_names_without_a_time_that_is_midnight(tmp_path: Path) -> None:
    dates = np.array(["2026-11-28", "2026-11-28T12:30", "2026-11-28T00:00:01"], "datetime64[us]")
    table = typed_table({"a": [1, 2, 3], "y": ["u", "v", "u"], "i": dates})
    imported(table, tmp_path, target="y", id="i")
    names = [b"2026-11-28", b"2026-11-28 12:30:00", b"2026-11-28 00:00:01"]
    assert np.load(tmp_path / "ids.npy").tolist() == names


@pytest.mark.parametrize(
    ("time", "parts", "dtype"),
    [
        ("", ["year", "month", "day", "weekday"], "float32"),
        ("T12:34:56.789", ["year", "month", "day", "weekday", "hour"], "float64"),
    ],
)
def test_times_make_an_input_for_the_hour_and_need_float64(
    time: str, parts: list[str], dtype: str, tmp_path: Path
) -> None:
    table = text_table({"at": [f"2026-11-28{time}", "2026-11-29"], "y": "u v"})
    content = imported(table, tmp_path, target="y", dates="parts")
    assert content.table is not None
    assert content.table.inputs[0].inputs == [f"at {part}" for part in parts]
    assert np.load(tmp_path / "inputs.npy").dtype == dtype


def test_texts_that_mean_a_gap(tmp_path: Path) -> None:
    table = text_table({"a": "1 unknown NA", "y": "u v u"})
    content = imported(table, tmp_path, {"gaps": ["unknown"]}, target="y", missing="mean")
    assert content.table is not None
    assert content.table.inputs[0].missing == 2
    assert np.isnan(np.load(tmp_path / "inputs.npy")[:, 0]).tolist() == [False, True, True]


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    content = imported(text_table({"a": "1 2 3", "y": "10 9 -1"}), tmp_path, target="y")
    assert content.table is not None
    assert content.table.classes == ["-1", "9", "10"]
    assert np.load(tmp_path / "targets.npy").tolist() == [2, 1, 0]


@pytest.mark.parametrize(("different", "are_classes"), [(20, True), (21, False)])
def test_few_different_integers_are_classes(
    different: int, are_classes: bool, tmp_path: Path
) -> None:
    numbers = [str(n) for n in range(different)]
    content = imported(text_table({"a": numbers, "y": numbers}), tmp_path, target="y")
    assert content.table is not None
    assert content.table.classes == (numbers if are_classes else None)


def test_a_class_that_is_written_in_two_ways_has_the_rows_of_both(tmp_path: Path) -> None:
    table = text_table({"a": [str(n) for n in range(10)], "y": "1 1 1 1.0 1.0 2 2 2 2 2"})
    content = imported(table, tmp_path, target="y")
    assert content.table is not None
    assert (content.table.classes, content.table.warnings) == (["1", "2"], [])


@pytest.mark.parametrize(
    ("column", "kinds"),
    [
        ("0 0 0 0 0 1 1 1 1 1", {"y": "boolean"}),
        ("true TRUE True true true false false False FALSE false", {}),
    ],
)
def test_classes_of_booleans(column: str, kinds: dict[str, str], tmp_path: Path) -> None:
    table = text_table({"a": [str(n) for n in range(10)], "y": column})
    content = imported(table, tmp_path, target="y", kinds=kinds)
    assert content.table is not None
    assert (content.table.classes, content.table.warnings) == (["false", "true"], [])


DATES: list[tuple[DateForm, str, str | None]] = [
    ("iso", "2024-02-29", "2024-02-29T00:00:00"),
    ("iso", "2023-02-29", None),
    ("iso", "2024-01-05T10:00:01.5+02:00", "2024-01-05T08:00:01.5"),
    ("iso", "2024-01-05 10:00-0130", "2024-01-05T11:30:00"),
    ("iso", "2024-01-05T10:00:00Z", "2024-01-05T10:00:00"),
    ("iso", "2024/01/05 23:59", "2024-01-05T23:59:00"),
    ("iso", "2024-01/05", None),
    ("iso", "2024-13-01", None),
    ("iso", "2024-01-05 24:00", None),
    ("day_first", "28/11/2026", "2026-11-28T00:00:00"),
    ("day_first", "3.4.2026 9:05", "2026-04-03T09:05:00"),
    ("day_first", "3.4/2026", None),
    ("day_first", "11/28/2026", None),
    ("month_first", "11/28/2026", "2026-11-28T00:00:00"),
    ("month_first", "3.4.2026", None),
]


@pytest.mark.parametrize(("form", "text", "expected"), DATES)
def test_dates(form: DateForm, text: str, expected: str | None) -> None:
    # the second text makes the reader look at parts, the first alone may be read as a whole
    for texts in ([text], [text, "2024-01-05T00:00Z"]):
        found = int(instants(pa.array(texts), form)[0])
        if expected is None:
            assert found == NO_INSTANT
        else:
            assert np.datetime64(found, "us") == np.datetime64(expected, "us")
