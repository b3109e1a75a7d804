"""CSV and TSV files are read as they were written, whatever their dialect."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchgrad.contract import TextOptions
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.formats import clean_text
from batchgrad_service.reading.formats.delimited.dialect import dialect_of
from batchgrad_service.reading.formats.delimited.table import DelimitedTable
from tests.service.reading.files import columns, opened
from tests.service.reading.uploaded import uploaded

A_B = {"a": ["1", "3"], "b": ["2", "4"]}

DIALECTS: dict[str, tuple[str, bytes, dict[str, Any], dict[str, list[str]]]] = {
    "comma": ("a.csv", b"a,b\n1,2\n3,4\n", {}, A_B),
    "semicolon and decimal commas": ("a.csv", b"a;b\n1,5;2\n3,5;4", {}, {"a": ["1,5", "3,5"], "b": ["2", "4"]}),
    "bar": ("a.csv", b"a|b\n1|2\n3|4\n", {}, A_B),
    "tab": ("a.txt", b"a\tb\n1\t2\n3\t4\n", {}, A_B),
    "TSV with commas": ("a.tsv", b"a\tb\n1,0\t2,0\n", {}, {"a": ["1,0"], "b": ["2,0"]}),
    "a delimiter of one's own": ("a.csv", b"a:b\n1:2\n3:4\n", {"delimiter": ":"}, A_B),
    "one column": ("a.csv", b"a\n1\n3\n", {}, {"a": ["1", "3"]}),
    "Windows": ("a.csv", b"a,b\r\n1,2\r\n3,4\r\n", {}, A_B),
    "old Mac": ("a.csv", b"a,b\r1,2\r3,4\r", {}, A_B),
    "empty lines": ("a.csv", b"\n\na,b\n\n1,2\n\n\n3,4\n\n", {}, A_B),
    "spaces": ("a.csv", b" a ,b\t\n 1,2 \n3\t, 4\n", {}, A_B),
    "mark of UTF-8": ("a.csv", "\ufeffa,b\n1,ü\n".encode(), {}, {"a": ["1"], "b": ["ü"]}),
    "mark of UTF-16": ("a.csv", "a,b\n1,ü\n".encode("utf-16"), {}, {"a": ["1"], "b": ["ü"]}),
    "UTF-16 without a mark": ("a.csv", "a,ü\n1,2\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, {"a": ["1"], "ü": ["2"]}),
    "Latin-1": ("a.csv", "a,ü\n1,é\n".encode("latin-1"), {"encoding": "latin-1"}, {"a": ["1"], "ü": ["é"]}),
    "Shift JIS": ("a.csv", "年齢,b\n1,東京\n".encode("shift_jis"), {"encoding": "shift_jis"}, {"年齢": ["1"], "b": ["東京"]}),
    "comments": ("a.csv", b"# made today, by us\n# x\na,b\n1,2\n3,4\n", {}, A_B),
    "commented headings": ("a.tsv", b"# made today\n# a\tb\n1\t2\n3\t4\n", {}, A_B),
    "Excel's line": ("a.csv", b"sep=;\r\na;b\r\n1;2\r\n3;4\r\n", {}, A_B),
    "quotes": ("a.csv", b'"a","b"\n"1, ""x""\ny",2\n5" tall,4\n', {}, {"a": ['1, "x"\ny', '5" tall'], "b": ["2", "4"]}),
    "gaps are texts": ("a.csv", b"a,b\nNA,\n,null\n", {}, {"a": ["NA", ""], "b": ["", "null"]}),
    "no headings": ("a.csv", b"1,2\n3,4\n", {"headings": False}, {"column 1": ["1", "3"], "column 2": ["2", "4"]}),
    "numbers as headings": ("a.csv", b"0,1,2\n7,8,9\n", {}, {"0": ["7"], "1": ["8"], "2": ["9"]}),
}  # fmt: skip


@pytest.mark.parametrize("case", DIALECTS)
def test_a_dialect_is_recognised(tmp_path: Path, case: str) -> None:
    name, content, options, expected = DIALECTS[case]
    source = opened(tmp_path / "file", content, name, **options)
    assert source.is_text
    assert columns(source) == expected
    assert columns(source) == expected  # a second time


def test_only_the_chosen_columns_are_read_in_their_order(tmp_path: Path) -> None:
    source = opened(tmp_path / "file", b"a,b,c\n1,2,3\n", "a.csv")
    batches = list(source.batches(["c", "a"]))
    assert batches[0].schema.names == ["c", "a"]
    assert batches[0].to_pydict() == {"c": ["3"], "a": ["1"]}


def test_rows_are_numbered_with_their_lines(tmp_path: Path) -> None:
    content = b'# top\n"a\nx",b\n1,2\n\n"3 ""\n,\n",4\n5"\n,6\n7,8\n'
    source = opened(tmp_path / "file", content, "a.csv", delimiter=",")
    assert source.names == ("a\nx", "b")
    places = [source.place(row) for row in (1, 2, 3)]
    assert places == ["row 1 (line 4)", "row 2 (line 6)", "row 3 (line 9)"]


texts = st.text(st.characters(exclude_characters="\0\r", codec="utf-8"), max_size=8)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(texts, min_size=width, max_size=width), min_size=1)
    ),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_pythons_writer_wrote_is_read(
    tmp_path: Path, rows: list[list[str]], delimiter: str, quoting: Any, end: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)
    names = [f"name {number}" for number in range(len(rows[0]))]
    writer.writerows([names, *rows])
    source = opened(tmp_path / "file", text.getvalue().encode(), "a.csv", delimiter=delimiter)
    read = columns(source)
    expected = [[value.strip() for value in row] for row in rows]
    assert [list(row) for row in zip(*read.values(), strict=True)] == expected
    assert list(read) == names


def test_rows_longer_than_a_block_are_read(tmp_path: Path) -> None:
    lengths = [3, 2_000_000, 10, 900_000, 900_000, 3_000_000, 5]
    content = b"a,b\n" + b"".join(b'%d,"%s"\n' % (n, b"x" * n) for n in lengths)
    read = columns(opened(tmp_path / "file", content, "a.csv"))
    assert [len(text) for text in read["b"]] == lengths
    assert read["a"] == [str(n) for n in lengths]


def test_a_hundred_thousand_columns_are_read(tmp_path: Path) -> None:
    names = ",".join(f"column {number}" for number in range(100_000))
    row = ",".join(str(number) for number in range(100_000))
    source = opened(tmp_path / "file", f"{names}\n{row}\n{row}\n".encode(), "a.csv")
    assert columns(source, ["column 99999", "column 7"]) == {
        "column 99999": ["99999"] * 2,
        "column 7": ["7"] * 2,
    }


def test_batches_are_small(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a,b\n" + b"12345678,x\n" * 400_000)
    source = DelimitedTable(path, uploaded(), None)
    batches = list(source.batches())
    assert sum(batch.num_rows for batch in batches) == 400_000
    assert max(batch.nbytes for batch in batches) < 4_000_000


def test_a_row_that_goes_on_below_the_sample_says_nothing_of_the_delimiter() -> None:
    start = 'a,b;c,d\n"1,1";2\n"3,\n'
    assert dialect_of(start, TextOptions(), None).delimiter == ";"


def test_the_first_line_names_the_delimiter_of_any_file() -> None:
    assert dialect_of("sep=;\na;b\n1;2\n", TextOptions(), "\t").names == ("a", "b")


def test_the_length_of_a_line_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_text, "_PIECE_BYTES", 10)
    monkeypatch.setattr(clean_text, "MOST_LINE_BYTES", 20)
    text = b"a,b\n" + b"1234,67\n" * 20
    assert columns(opened(tmp_path / "a", text, "a.csv"))["b"] == ["67"] * 20
    with pytest.raises(InvalidError, match="Line 22 has more than 20 bytes"):
        columns(opened(tmp_path / "a", text + b"1,2" * 10, "a.csv"))
