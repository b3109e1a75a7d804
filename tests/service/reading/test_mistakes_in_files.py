"""Mistakes in files: each has a message that says what is wrong, and what to do."""

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchgrad_service.problems import InvalidError, TooLargeError
from tests.service.reading.files import as_arrow, as_parquet, picture, read_all, zipped

P = picture()
LONG = b"4," + b"5" * 998 + b"\n"
PAIR = {"cat/1.png": P, "dog/1.png": P}
TABLE = pa.table({"age": [31, 40], "city": ["Rome", "Oslo"]})
NESTED = pa.table({"tags": [[1], [2, 3]]})
TIMES = pa.table({"waited": pa.array([1, 2], pa.duration("s"))})
NOT_UTF8 = pa.table({"name": pa.array([b"\xff", b"x"], pa.binary())})
CLAIMED_UTF8 = pa.table(
    {"name": pa.Array.from_buffers(pa.string(), 2, NOT_UTF8["name"].chunk(0).buffers())}
)


def archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def encrypted(content: bytes) -> bytes:
    """Set the bit that says so, in the directory of a zip."""
    return content.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")


def twice(content: bytes) -> bytes:
    return content.replace(b"cat/2.png", b"cat/1.png")


def claiming(width: int, height: int) -> bytes:
    """A small PNG whose header claims another size."""
    header = P[12:16] + struct.pack(">2I", width, height) + P[24:29]
    return P[:12] + header + struct.pack(">I", zlib.crc32(header)) + P[33:]


MISTAKES: list[tuple[str, str, bytes, dict[str, Any], str, str]] = [
    # what, the file's name, its content, options, what the message says, its remedy
    # --- CSV
    ("empty file", "a.csv", b"", {}, "empty (0 bytes)", "was it written completely"),
    ("only line ends", "a.csv", b"\n\n", {}, "no columns", "expected headings and rows"),
    ("only headings", "a.csv", b"age,city\n", {}, "headings ('age', …) but no rows", "expected at"),
    ("only comments", "a.csv", b"# nothing\n", {}, "no rows", "expected at least one line"),
    ("wrong encoding", "a.csv", "n,c\n1,é\n".encode("latin-1"), {},
     "Line 2 has the byte 0xe9 after '1,'", "--encoding latin-1"),
    ("unknown encoding", "a.csv", b"a,b\n1,2\n", {"encoding": "utf-9"},
     "'utf-9' is no encoding", "--encoding cp1252"),
    ("no encoding of text", "a.csv", b"a,b\n1,2\n", {"encoding": "rot13"},
     "'rot13' is no encoding of text", "--encoding"),
    ("wrong mark", "a.csv", "a,b\n1,2\n".encode("utf-16")[2:], {}, "Line 1 has a NUL", "--encoding utf-16"),
    ("NUL byte", "a.csv", b"a,b\n1,2\n3,\0\n", {}, "Line 3 has a NUL byte", "--format parquet"),
    ("ragged, short", "a.csv", b"a,b,c\n1,2,3\n4,5\n", {},
     "Row 2 (line 3) has 2 fields, expected 3", "write nothing between two delimiters"),
    ("ragged, long", "a.csv", b'a,b\n"x\ny",2\n\n4,5,6\n', {},
     "Row 2 (line 5) has 3 fields, expected 2", "put quotes around a value"),
    ("wrong delimiter", "a.csv", b"a;b\n1;2,5\n", {"delimiter": ","},
     "Row 1 (line 2) has 2 fields, expected 1", "--delimiter ';'"),
    ("impossible delimiter", "a.csv", b"a,b\n1,2\n", {"delimiter": '"'}, "delimiter is '\"'", "--delimiter ';'"),
    ("duplicate headings", "a.csv", b"a,b,a\n1,2,3\n", {},
     "heading 'a' is there 2 times (columns 1, 3)", "a name of its own"),
    ("duplicate after trimming", "a.csv", b"a, a\n1,2\n", {}, "'a' is there 2 times", "a name of its own"),
    ("empty heading", "a.csv", b",a\n0,2\n", {}, "Column 1 of 2 has no heading", "to_csv(file, index=False)"),
    ("trailing delimiter", "a.csv", b"a,b,\n1,2,\n", {}, "Column 3 of 3 has no heading", "write one"),
    ("long heading", "a.csv", b"x" * 2000 + b",b\n1,2\n", {}, "has 2000 characters", "--no-headings"),
    ("no headings", "a.csv", b"5.1,3.5\n4.9,3.0\n", {}, "the values 5.1, 3.5 where names", "--no-headings"),
    ("no headings, decimal commas", "a.csv", b"5,1;3,5\n4,9;3,0\n", {}, "the values 5,1, 3,5", "--no-headings"),
    ("open quote at the end", "a.csv", b'a,b\n1,2\n3,"x\n4,5\n', {},
     'Row 2 (line 3) has a quote (") that is not closed', "close it"),
    ("open quote in a long file", "a.csv", b'a,b\n1,2\n3,"x\n' + LONG * 20_000, {},
     "The row that begins in line 3 has more than 8388608 bytes", "close it"),
    ("one long line", "a.csv", b"x" * 9_000_000, {}, "Line 1 has more than 8388608 bytes", "--format parquet"),
    # --- JSON lines
    ("JSON array", "a.json", b'[{"a": 1}]', {}, "one JSON array", "jq -c '.[]'"),
    ("indented JSON", "a.json", b'{\n  "a": 1\n}\n', {}, "Line 1 is no JSON", "jq -c ."),
    ("damaged line", "a.jsonl", b'{"a": 1}\n{"a": \n', {}, "Line 2 is no JSON", "expected an object in each"),
    ("no object", "a.jsonl", b'{"a": 1}\n[1]\n', {}, "Line 2 is an array", "expected an object in each"),
    ("no keys", "a.jsonl", b"{}\n", {}, "no columns", "expected headings and rows"),
    ("empty lines", "a.jsonl", b"\n\n", {}, "no lines", "expected an object in each line"),
    ("nested object", "a.jsonl", b'{"a": {"x": 1}}\n', {}, "'a' has an object in line 1", "a key of its own"),
    ("array", "a.jsonl", b'{"b": 1}\n{"b": 2, "a": [1]}\n', {}, "'a' has an array in line 2", "--drop 'a'"),
    ("types change", "a.jsonl", b'{"a": 1}\n\n{"a": "x"}\n', {},
     "'a' has an integer in line 1 and a text in line 3", "values of one type"),
    ("duplicate key", "a.jsonl", b'{"a": 1, "a" : 2}\n', {}, "Line 1 has the key 'a' 2 times", "each key once"),
    ("large integer", "a.jsonl", b'{"a": 18446744073709551615}\n', {},
     "integer 18446744073709551615 as 'a', more than 64 bits", "in quotes if it is a name"),
    ("half a character", "a.jsonl", b'{"a": "\\ud800", "b": NaN}\n', {}, "Line 1 is no JSON", "expected an object"),
    ("deep nesting", "a.jsonl", b'{"a": ' + b"[" * 5000 + b"NaN\n", {}, "Line 1 is no JSON", "expected an object"),
    # --- Parquet and Arrow
    ("truncated Parquet", "a.parquet", as_parquet(TABLE)[:-10], {}, "Parquet file cannot be read", "write it again"),
    ("CSV as Parquet", "a.csv", b"a,b\n1,2\n", {"format": "parquet"}, "cannot be read", "send CSV"),
    ("Parquet without rows", "a.parquet", as_parquet(TABLE[:0]), {}, "has no rows", "expected at least one"),
    ("lists", "a.parquet", as_parquet(NESTED), {}, "'tags' holds values of type list", "--drop 'tags'"),
    ("durations", "a.arrow", as_arrow(TIMES), {}, "'waited' holds values of type duration", "of seconds"),
    ("bytes", "a.arrow", as_arrow(NOT_UTF8), {}, "'name' holds a value that cannot be read as string", "--drop"),
    ("no text in Parquet", "a.parquet", as_parquet(CLAIMED_UTF8), {}, "cannot be read (In column 0: Invalid: Invalid UTF8", "write it again"),
    ("no text in Arrow", "a.arrow", as_arrow(CLAIMED_UTF8), {}, "cannot be read (In column 0: Invalid: Invalid UTF8", "write it again"),
    ("truncated Arrow", "a.arrow", as_arrow(TABLE)[:-30], {}, "Arrow file cannot be read", "write_feather"),
    ("Arrow without rows", "a.arrow", as_arrow(TABLE[:0]), {}, "has no rows", "expected at least one"),
    ("duplicate columns", "a.arrow", as_arrow(pa.table([[1], [2]], ["a", "a"])), {}, "'a' is there 2", "of its own"),
    # --- arrays and pictures
    ("one array", "x.npy", b"\x93NUMPY\x01\0", {}, "one array of numpy", "numpy.savez("),
    ("no targets", "a.npz", archive(inputs=np.ones((2, 1))), {}, "not targets", "numpy.savez("),
    ("no names", "a.npz", archive(arr_0=np.ones(2)), {}, "'arr_0'; expected a name", "numpy.savez(file, inputs=X"),
    ("truncated zip", "a.zip", zipped(PAIR)[:-30], {}, "begins as a zip (or npz), but is damaged", "Write it again"),
    ("CSV as pictures", "a.csv", b"a\n", {"format": "pictures"}, "no readable zip", "zip -r"),
    ("no pictures", "a.zip", zipped({}), {"format": "pictures"}, "no pictures", "a folder of its own"),
    ("flat pictures", "a.zip", zipped({"1.png": P}), {}, "'1.png' is in no folder", "a folder of its own"),
    ("one class", "a.zip", zipped({"a/1.png": P}), {}, "of one class, 'a'", "a folder of its own"),
    ("no picture", "a.zip", zipped({**PAIR, "cat/list.txt": b""}), {}, "'cat/list.txt'; it is no picture", "remove it"),
    ("damaged picture", "a.zip", zipped({**PAIR, "cat/2.jpg": picture(size=(64, 64), kind="JPEG")[:-100]}), {"pictures": {"size": [3, 4]}}, "'cat/2.jpg' is damaged", "save it again"),
    ("another kind", "a.zip", zipped({**PAIR, "cat/2.png": b"<svg/>"}), {}, "no picture that can be", "save it again"),
    ("different sizes", "a.zip", zipped({**PAIR, "dog/2.png": picture(size=(5, 6))}), {},
     "'cat/1.png' has 3 x 4 pixels (height x width), 'dog/2.png' has 6 x 5", "--size 3x4"),
    ("impossible size", "a.zip", zipped(PAIR), {"pictures": {"size": [0, 4]}}, "size is 0 x 4", "--size 64x64"),
    ("32 bits", "a.zip", zipped({**PAIR, "a/2.tif": picture("F", kind="TIFF")}), {}, "have 32 bits", "save it again"),
    ("bomb", "a.zip", zipped({**PAIR, "a/2.png": claiming(9000, 9000)}), {},
     "9000 x 9000 pixels, more than 50000000", "make it smaller"),
    ("large bomb", "a.zip", zipped({**PAIR, "a/2.png": claiming(65000, 65000)}), {}, "too large", "make it smaller"),
    ("path outside", "a.zip", zipped({**PAIR, "../1.png": P}), {}, "'../1.png'", "zip the folder again"),
    ("a name twice", "a.zip", twice(zipped({**PAIR, "cat/2.png": P})), {}, "'cat/1.png' twice", "another name"),
    ("password", "a.zip", encrypted(zipped(PAIR)), {}, "it is encrypted", "without a password"),
    ("bzip2", "a.zip", zipped(PAIR, zipfile.ZIP_BZIP2), {}, "compressed by bzip2", "zip -r"),
    # --- other formats
    ("gzip", "a.csv.gz", b"\x1f\x8b\x08\0", {}, "compressed by gzip", "gunzip"),
    ("Excel", "a.xlsx", zipped({"[Content_Types].xml": b""}), {}, "Excel", "save the table as CSV"),
    ("pickle", "a.pkl", b"\x80\x05\x95", {}, "a Python pickle", "to_parquet"),
    ("Feather 1", "a.feather", b"FEA1" + bytes(20), {}, "Feather version 1", "write_feather"),
    ("encrypted Parquet", "a.parquet", b"PARE" + bytes(20), {}, "encrypted Parquet", "without encryption"),
    ("unknown", "a.dat", b"hello", {}, "format of a.dat is not known", "--format csv"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "options", "says", "remedy"),
    [row[1:] for row in MISTAKES],
    ids=[row[0] for row in MISTAKES],
)
def test_a_mistake_is_named_with_its_remedy(
    tmp_path: Path, name: str, content: bytes, options: dict[str, Any], says: str, remedy: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        read_all(tmp_path / "file", tmp_path, content, name, **options)
    message = caught.value.detail
    assert says in message, message
    assert remedy in message, message
    assert len(message) < 600, message
    assert caught.value.errors[0].pointer is not None


def test_pictures_that_are_too_many_are_refused_before_they_are_written(tmp_path: Path) -> None:
    content = zipped(
        {f"{kind}/{n}.png": picture(size=(200, 200)) for kind in "ab" for n in "12345"}
    )
    with pytest.raises(TooLargeError, match=r"10 pictures of 200 x 200 .*--size 64x64"):
        read_all(tmp_path / "file", tmp_path, content, "a.zip")
    assert (tmp_path / "inputs.npy").stat().st_size == 0
