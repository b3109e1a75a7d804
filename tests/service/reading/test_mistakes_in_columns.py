"""Mistakes in columns and in what is said about them: each message names place and remedy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchgrad_service.problems import InvalidError, TooLargeError
from batchgrad_service.reading.importing import import_table
from tests.service.reading.memory_tables import (
    MemoryTable,
    imported,
    request,
    text_table,
    typed_table,
)

MANY = 100
CODES = [str(n % 7) for n in range(MANY)]
YES = ["yes", "no"] * (MANY // 2)


def with_one(value: str, others: Any = CODES) -> list[str]:
    """A column in which row 3 (line 4) is `value`."""
    return [*others[:2], value, *others[3:]]


@dataclass(frozen=True)
class Mistake:
    """A table, options, and what the message has to say."""

    columns: dict[str, Any]
    options: dict[str, Any]
    says: tuple[str, ...]
    text: dict[str, Any] = field(default_factory=dict)
    typed: bool = False

    @property
    def table(self) -> MemoryTable:
        return typed_table(self.columns) if self.typed else text_table(self.columns)


A_AND_Y = {"a": CODES, "y": YES}
Y = {"target": "y"}
MISTAKES = {
    "no target": Mistake(
        {"a": CODES, "churned": YES, "b": CODES},
        {},
        ("Which column is to be predicted?", "--target churned", "a, churned, b"),
    ),
    "no target, no likely name": Mistake(
        {"a": CODES, "b": YES}, {}, ("--target b", "The columns are a, b")
    ),
    "misspelled target": Mistake(
        {"a": CODES, "churned": YES},
        {"target": "chruned"},
        ("--target chruned: there is no such column", "did you mean churned?"),
    ),
    "target in other case": Mistake(
        {"a": CODES, "Churned": YES}, {"target": "churned"}, ("did you mean Churned?",)
    ),
    "unknown weight": Mistake(A_AND_Y, Y | {"weight": "w"}, ("--weight w: there is no such",)),
    "unknown dropped column": Mistake(A_AND_Y, Y | {"drop": ["A1"]}, ("--drop A1", "a, y")),
    "two roles": Mistake(
        A_AND_Y | {"b": CODES},
        Y | {"weight": "a", "id": "a"},
        ("Column a is named by --weight and by --id", "name it once"),
    ),
    "dropped with a comma": Mistake(
        {"a": "1 2", "b": "1 2", "y": "u v"}, Y | {"drop": ["a,b"]}, ("repeat the option",)
    ),
    "target dropped": Mistake(A_AND_Y, Y | {"drop": ["y"]}, ("--target and by --drop",)),
    "nothing left": Mistake(A_AND_Y, Y | {"drop": ["a"]}, ("No column is left", "Drop fewer")),
    "unknown in --as": Mistake(
        {"age": CODES, "y": YES},
        Y | {"kinds": {"agee": "category"}},
        ("--as agee=category", "did you mean age?"),
    ),
    "--as of a dropped column": Mistake(
        A_AND_Y | {"b": CODES},
        Y | {"drop": ["b"], "kinds": {"b": "category"}},
        ("column b is dropped by --drop", "remove one"),
    ),
    "--as of an id": Mistake(
        A_AND_Y | {"i": CODES},
        Y | {"id": "i", "kinds": {"i": "category"}},
        ("column i is the id", "remove --as i=category"),
    ),
    "unknown in --missing": Mistake(
        A_AND_Y, Y | {"missing": {"b": "mean"}}, ("--missing b=mean: there is no such column",)
    ),
    "--missing of the target": Mistake(
        A_AND_Y, Y | {"missing": {"y": "mean"}}, ("the target", "--missing-target drop")
    ),
    "--missing mean of a category": Mistake(
        A_AND_Y | {"c": ["p", "q"] * 50},
        Y | {"missing": {"c": "mean"}},
        ("column c is a category", "gaps are a category", "remove --missing c=mean"),
    ),
    "a constant that fills nothing": Mistake(
        A_AND_Y, Y | {"constant": 7.0}, ("--constant 7", "--missing constant")
    ),
    "gaps": Mistake(
        {"a": with_one(""), "y": YES},
        Y,
        ("Column a has no value in 1 of 100 rows", "row 3 (line 4)", "--missing mean", "--drop a"),
    ),
    "the text NA": Mistake({"a": with_one("NA"), "y": YES}, Y, ("no value", "--missing a=mean")),
    "a gap in a boolean": Mistake(
        {"a": with_one("", YES), "y": YES}, Y, ("Column a has no value", "--missing")
    ),
    "gaps in a typed column": Mistake(
        {"a": [1.0, None], "y": ["u", "v"]}, Y, ("row 2:", "--missing mean"), typed=True
    ),
    "a text among numbers": Mistake(
        {"a": with_one("abc"), "y": YES},
        Y,
        ("'abc' in row 3 (line 4)", "a number in 99 of 100 rows", "--gap 'abc'", "--as a=category"),
    ),
    "another gap marker": Mistake(
        {"a": with_one("unknown"), "y": YES}, Y, ("'unknown' in row 3", "--gap 'unknown'")
    ),
    "decimal commas": Mistake(
        {"a": ["1,5", "2,25"], "y": "u v"}, Y, ("'1,5' in row 1", "decimal comma", "--decimal ,")
    ),
    "another boolean, first of all": Mistake(
        {"a": "abc 7", "y": "u v"}, Y | {"kinds": {"a": "boolean"}}, ("'abc' in row 1",)
    ),
    "as many decimal commas as points": Mistake(
        {"a": ["1,5", "2.25"], "y": "u v"}, Y, ("'1,5' in row 1", "--decimal ,")
    ),
    "a decimal comma among points": Mistake(
        {"a": with_one("2,5"), "y": YES}, Y, ("'2,5' in row 3", "--decimal ,")
    ),
    "decimal points with --decimal ,": Mistake(
        {"a": ["1.5", "2.25"], "y": "u v"}, Y, ("decimal point", "--decimal ."), {"decimal": ","}
    ),
    "thousands separators": Mistake(
        {"a": ["1,234.5", "12,345.0"], "y": "u v"},
        Y,
        ("'1,234.5'", "a thousands separator", "write 1234.5"),
    ),
    "percent": Mistake({"a": "12% 7%", "y": "u v"}, Y, ("a percent sign", "write 0.12 or 12")),
    "a currency": Mistake({"a": "$5 $7.50", "y": "u v"}, Y, ("a currency", "write 12 instead")),
    "infinity": Mistake(
        {"a": with_one("inf"), "y": YES}, Y, ("inf in row 3 (line 4)", "finite", "--drop a")
    ),
    "too large for float64": Mistake({"a": "1e999 1", "y": "u v"}, Y, ("inf in row 1", "finite")),
    "a typed infinity": Mistake(
        {"a": [1.0, -np.inf], "y": ["u", "v"]}, Y, ("-inf in row 2", "--drop a"), typed=True
    ),
    "integers from 2^53 on": Mistake(
        {"a": ["9007199254740993", "1"], "y": "u v"},
        Y,
        ("9007199254740993 in row 1", "2^53", "--id a", "--as a=category"),
    ),
    "typed integers from 2^53 on": Mistake(
        {"a": [2**53 + 1, 1], "y": ["u", "v"]}, Y, ("2^53", "row 1", "--id a"), typed=True
    ),
    "free text": Mistake(
        {"a": [f"text {n}" for n in range(150)], "y": ["u"] * 150},
        Y,
        ("more than 100 different texts", "--drop a", "--id a", "--max-categories 1000"),
    ),
    "more categories than allowed": Mistake(
        {"a": "p q r", "y": "u v v"},
        Y | {"max_categories": 2},
        ("more than 2 different texts", "--max-categories 20"),
    ),
    "--as number of texts": Mistake(
        {"a": "x y", "y": "u v"}, Y | {"kinds": {"a": "number"}}, ("'x' in row 1", "a number in 0")
    ),
    "--as number of dates": Mistake(
        {"a": [np.datetime64("2026-01-01", "us"), None], "y": ["u", "v"]},
        Y | {"kinds": {"a": "number"}},
        ("holds dates", "remove --as a=number"),
        typed=True,
    ),
    "--as boolean of numbers": Mistake(
        {"a": "0 1 2", "y": "u v v"},
        Y | {"kinds": {"a": "boolean"}},
        ("not boolean throughout", "true, yes", "remove --as a=boolean"),
    ),
    "--as date of numbers": Mistake(
        {"a": [1, 2], "y": ["u", "v"]},
        Y | {"kinds": {"a": "date"}},
        ("holds numbers", "Remove --as a=date"),
        typed=True,
    ),
    "--as date of texts": Mistake(
        {"a": "x y", "y": "u v"}, Y | {"kinds": {"a": "date"}}, ("'x' in row 1", "2026-11-28")
    ),
    "day or month first": Mistake(
        {"a": "03/04/2026 05/06/2026", "y": "u v"},
        Y,
        ("'03/04/2026' in row 1", "--day-first or --month-first"),
    ),
    "month first where days are": Mistake(
        {"a": "03/04/2026 28/06/2026", "y": "u v"},
        Y | {"kinds": {"a": "date"}},
        ("'28/06/2026' in row 2", "like 11/28/2026"),
        {"day_first": False},
    ),
    "two forms of dates": Mistake(
        {"a": "2026-01-01 28/06/2026", "y": "u v"},
        Y,
        ("more than one form", "'28/06/2026' in row 2", "write all like 2026-11-28"),
    ),
    "30 February": Mistake(
        {"a": with_one("2026-02-30", ["2026-01-28"] * MANY), "y": YES},
        Y,
        ("'2026-02-30' in row 3 (line 4)", "a date in 99 of 100", "--gap '2026-02-30'"),
    ),
    "texts and numbers in one typed column": Mistake(
        {"a": pa.chunked_array([["1"], ["2"]]), "y": ["u", "v"]},
        Y | {"kinds": {"a": "boolean"}},
        ("not boolean throughout",),
        typed=True,
    ),
    "gaps in the target": Mistake(
        {"a": CODES, "y": with_one("", YES)},
        Y,
        ("--target y: there is no value in 1 of 100 rows", "line 4", "--missing-target drop"),
    ),
    "an empty target": Mistake({"a": "1 2", "y": ["", ""]}, Y, ("no value in any row", "another")),
    "an empty target, left out": Mistake(
        {"a": "1 2", "y": ["", ""]}, Y | {"missing_target": "drop"}, ("No row has a value", "y")
    ),
    "a date as target": Mistake(
        {"a": "1 2", "y": "2026-01-01 2026-01-02"}, Y, ("holds dates", "a class or a number")
    ),
    "too many classes": Mistake(
        {"a": ["1"] * 150, "y": [f"k{n}" for n in range(150)]},
        Y,
        ("Column y has more than 100 different texts", "--max-categories"),
    ),
    "too many integer classes": Mistake(
        {"a": ["1"] * 150, "y": [str(n) for n in range(150)]},
        Y | {"target_kind": "classes"},
        ("more than 100 different integers", "--target-kind numbers"),
    ),
    "fractions as classes": Mistake(
        {"a": "1 2", "y": "0.5 1"},
        Y | {"target_kind": "classes"},
        ("numbers that are no integers", "--target-kind numbers"),
    ),
    "texts as numbers": Mistake(
        {"a": "1 2", "y": "u v"},
        Y | {"target_kind": "numbers"},
        ("texts such as 'u'", "remove --target-kind"),
    ),
    "two targets, one a text": Mistake(
        {"a": "1 2", "y": "1 2", "z": "u v"},
        {"target": ["y", "z"]},
        ("--target z, one of 2 targets", "name one --target"),
    ),
    "two targets as classes": Mistake(
        {"a": "1 2", "y": "1 2", "z": "1 2"},
        {"target": ["y", "z"], "target_kind": "classes"},
        ("needs one target column", "remove --target-kind"),
    ),
    "a negative weight": Mistake(
        A_AND_Y | {"w": with_one("-2")},
        Y | {"weight": "w"},
        ("-2", "row 3 (line 4)", "0 or more"),
    ),
    "no positive weight": Mistake(
        {"a": "1 2", "y": "u v", "w": "0 0"}, Y | {"weight": "w"}, ("all weights are 0", "above 0")
    ),
    "a weight that is a text": Mistake(
        {"a": "1 2", "y": "u v", "w": "big small"}, Y | {"weight": "w"}, ("'big' in row 1",)
    ),
    "a weight that is a boolean": Mistake(
        {"a": [1, 2], "y": ["u", "v"], "w": [True, False]},
        Y | {"weight": "w"},
        ("holds booleans", "a weight is a number"),
        typed=True,
    ),
    "a gap in the weights": Mistake(
        A_AND_Y | {"w": with_one("")}, Y | {"weight": "w"}, ("line 4", "has weight 0")
    ),
    "a gap in the ids": Mistake(
        A_AND_Y | {"i": with_one("")}, Y | {"id": "i"}, ("--id i", "line 4", "leave out --id")
    ),
    "long ids": Mistake(
        A_AND_Y | {"i": with_one("x" * 300)}, Y | {"id": "i"}, ("300 bytes", "--drop i")
    ),
    "a gap in the units": Mistake(
        A_AND_Y | {"p": with_one("")}, Y | {"units": "p"}, ("--units p", "line 4")
    ),
    "an unknown set": Mistake(
        A_AND_Y | {"s": with_one("trian", ["train"] * MANY)},
        Y | {"split": "s"},
        ("'trian' in row 3 (line 4)", "train, validation or test"),
    ),
    "a gap in the sets": Mistake(
        A_AND_Y | {"s": with_one("", ["train"] * MANY)}, Y | {"split": "s"}, ("--split s", "line 4")
    ),
    "nothing to train on": Mistake(
        {"a": "1 2", "y": "u v", "s": "val test"},
        Y | {"split": "s"},
        ("no row is for training", "test, val"),
    ),
    "no rows": Mistake({"a": [], "y": []}, Y, ("headings, but no rows",)),
    "only empty columns": Mistake(
        {"a": ["", ""], "y": "u v"}, Y, ("No column with values is left",)
    ),
    "too many inputs": Mistake(
        {f"c{n}": [f"{m}x" for m in range(3000)] for n in range(34)} | {"y": ["u", "v"] * 1500},
        Y | {"max_categories": 3000},
        ("at most 100000", "--max-categories"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=list(MISTAKES))
def test_the_message_names_place_and_remedy(mistake: Mistake, tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as caught:
        imported(mistake.table, tmp_path, mistake.text, **mistake.options)
    message = str(caught.value)
    assert [part for part in mistake.says if part not in message] == [], message
    assert caught.value.errors
    assert caught.value.errors[0].pointer.startswith("/table")
    assert not list(tmp_path.iterdir())


def test_a_table_that_is_too_large_is_refused_before_it_is_written(tmp_path: Path) -> None:
    table = text_table({"a": "1 2", "y": "u v"})  # 2 float32 and 2 int64
    with pytest.raises(TooLargeError, match=r"24 bytes.*--drop columns.*max_dataset_bytes"):
        import_table(table, request(target="y"), tmp_path, max_bytes=23, progress=lambda *_: None)
    assert not list(tmp_path.iterdir())
    import_table(table, request(target="y"), tmp_path, max_bytes=24, progress=lambda *_: None)


def test_a_table_that_changes_between_the_readings_is_refused(tmp_path: Path) -> None:
    class Growing(MemoryTable):
        times = 0

        def batches(self, columns: Any = None) -> Any:
            self.times += 1
            for _ in range(self.times):
                yield from super().batches(columns)

    table = Growing(pa.table({"a": ["1", "2"], "y": ["u", "v"]}), is_text=True)
    with pytest.raises(InvalidError, match=r"2 rows.*then 4.*Import it again"):
        imported(table, tmp_path, target="y")


WARNED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an empty column": ({"a": "1 2", "b": ["", ""], "y": "u v"}, {}, "Column b has no value"),
    "a constant column": ({"a": "1 2", "b": "7 7", "y": "u v"}, {}, "'7' in all rows"),
    "a constant category": ({"a": "1 2", "b": "q q", "y": "u v"}, {}, "--drop b"),
    "rare categories": ({"a": "p p q", "y": "u v v"}, {"rare": 2}, "1 of 2 categories"),
    "one class": ({"a": "1 2", "y": "u u"}, {}, "nothing to learn"),
    "a rare class": ({"a": "1 2", "y": "u v"}, {}, "few rows: u (1), v (1)"),
    "a constant number": (
        {"a": "1 2", "y": "3.5 3.5"},
        {},
        "The target y is 3.5 in all rows",
    ),
    "repeated ids": ({"a": "1 2", "y": "u v", "i": "n n"}, {"id": "i"}, "--units i"),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNED)
def test_what_is_probably_not_meant_is_told(name: str, tmp_path: Path) -> None:
    columns, options, says = WARNED[name]
    content = imported(text_table(columns), tmp_path, target="y", **options)
    assert content.table is not None
    assert [warning for warning in content.table.warnings if says in warning]
