"""`python -m tests.service.reading.damaged_files SEED COUNT FOLDER`: read damaged files.

This process reads files of every format, damaged by a seed, with a limit of memory. It prints how
often each outcome came; it ends with a traceback at an outcome that is none of OUTCOMES. Before
each file it writes the file to FOLDER, so that a file that kills it can be looked at.
"""

import json
import shutil
import struct
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from batchgrad_service.problems import InvalidError, TooLargeError
from batchgrad_workers.system.process_memory import at_most, peak_resident_bytes
from tests.service.reading.files import as_arrow, as_parquet, picture, read_all, zipped
from tests.service.uploads import npz

OUTCOMES = ("read", "refused", "out of memory")
LIMIT_BYTES = 256 * 2**20

_RANDOM = np.random.default_rng(0)
_TABLE = pa.table(
    {
        "number": _RANDOM.normal(size=200),
        "count": pa.array([None, *range(199)]),
        "city": pa.array(["Rome", "Oslo", None, "Łódź"] * 50).dictionary_encode(),
        "text": [f"text {n}" for n in range(200)],
        "day": pa.array(range(200), pa.date32()),
        "time": pa.array(range(200), pa.timestamp("ms", "UTC")),
        "flag": [True, None] * 100,
    }
)
_NESTED = pa.table({"a": [[1, 2], None], "b": [{"x": 1}, None], "c": [1, 2]})
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TEXT = _TABLE.to_pandas().to_csv(index=False)
_LINES = _TABLE.to_pandas().to_json(orient="records", lines=True, date_format="iso")
_PIECES = (
    b'"',
    b"'",
    b"\0",
    b"\xff",
    b"\r",
    b"\n",
    b",",
    b";",
    b"{",
    b"[",
    b"]",
    b"\xef\xbb\xbf",
    b"#",
)
_MAGIC = {
    "parquet": b"PAR1",
    "arrow": b"ARROW1\0\0",
    "stream": b"\xff\xff\xff\xff",
    "zip": b"PK\x03\x04",
}

TABLES: dict[str, tuple[str, bytes]] = {
    "csv": ("a.csv", _TEXT.encode()),
    "utf-16": ("a.csv", _TEXT.encode("utf-16")),
    "tsv": ("a.tsv", _TEXT.replace(",", "\t").encode()),
    "jsonl": ("a.jsonl", _LINES.encode()),
    "parquet": ("a.parquet", as_parquet(_TABLE, compression="snappy")),
    "parquet, plain": ("a.parquet", as_parquet(_TABLE, use_dictionary=False, compression="none")),
    "parquet, pages": ("a.parquet", as_parquet(
        _TABLE, compression="zstd", data_page_size=99, row_group_size=60, data_page_version="2.0")),
    "parquet, deltas": ("a.parquet", as_parquet(
        _TABLE.select(["count", "text"]), use_dictionary=False, compression="gzip",
        column_encoding={"count": "DELTA_BINARY_PACKED", "text": "DELTA_BYTE_ARRAY"})),
    "parquet, nested": ("a.parquet", as_parquet(_NESTED)),
    "arrow": ("a.arrow", as_arrow(_TABLE)),
    "arrow, lz4": ("a.arrow", as_arrow(_TABLE, compression="lz4")),
    "arrow, stream": ("a.arrow", as_arrow(_TABLE, stream=True)),
    "arrow, nested": ("a.arrow", as_arrow(_NESTED)),
    "npz": ("a.npz", npz(inputs=np.ones((20, 3), np.float32), targets=np.arange(20))),
    "pictures": ("a.zip", zipped(dict.fromkeys(("a/1.png", "b/1.png"), picture()), 8)),
}  # fmt: skip
"""A file's name and content; each can be read, or its columns are refused."""

PICTURES: dict[str, bytes] = {
    "1.png": picture("RGBA", (30, 20), (1, 2, 3, 4)),
    "2.png": picture("I;16", (30, 20), 777),
    "3.png": picture("P", (30, 20), 7, transparency=7),
    "1.jpg": picture("RGB", (30, 20), (9, 99, 200), "JPEG", progressive=True),
    "2.jpg": picture("CMYK", (30, 20), (9, 99, 200, 3), "JPEG"),
    "1.gif": picture("P", (30, 20), 7, "GIF"),
    "1.bmp": picture("RGB", (30, 20), (9, 99, 200), "BMP"),
    "1.ppm": picture("RGB", (30, 20), (9, 99, 200), "PPM"),
    "1.webp": picture("RGB", (30, 20), (9, 99, 200), "WEBP", lossless=True),
    "1.tif": picture("RGB", (30, 20), (9, 99, 200), "TIFF", compression="tiff_lzw"),
    "2.tif": picture("L", (30, 20), 9, "TIFF", compression="tiff_adobe_deflate"),
    "3.tif": picture("1", (30, 20), 1, "TIFF", compression="group4"),
}


def files(seed: int, count: int) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Names, contents and options of damaged files; the formats take turns."""
    random = Random(seed)
    kinds = [*TABLES, *PICTURES, *_MAGIC]
    for index in range(count):
        kind = kinds[index % len(kinds)]
        if kind in TABLES:
            name, whole = TABLES[kind]
            yield name, damaged(random, whole), {}
        elif kind in PICTURES:
            content = damaged(random, PICTURES[kind])
            members = {f"a/{kind}": content, f"b/{kind}": PICTURES[kind]}
            yield "a.zip", zipped(members), {"pictures": {"size": [8, 8]}}
        else:
            yield "a", _MAGIC[kind] + random.randbytes(random.choice((0, 3, 100, 5000))), {}


def damaged(random: Random, whole: bytes) -> bytes:
    """Damage a file in one of several ways, sometimes twice."""
    way = random.choice((_flipped, _flipped, _bytes, _number, _cut, _spliced, _inserted))
    made = way(random, whole)
    return damaged(random, made) if made and random.random() < 0.2 else made


def _flipped(random: Random, whole: bytes) -> bytes:
    made = bytearray(whole)
    for _ in range(random.choice((1, 1, 1, 3, 10))):
        made[random.randrange(len(made))] ^= 1 << random.randrange(8)
    return bytes(made)


def _bytes(random: Random, whole: bytes) -> bytes:
    made = bytearray(whole)
    at, length = random.randrange(len(made)), random.choice((1, 2, 4, 16, 100))
    made[at : at + length] = random.choice(
        (random.randbytes(length), b"\0" * length, b"\xff" * length)
    )
    return bytes(made)


def _number(random: Random, whole: bytes) -> bytes:
    made = bytearray(whole)
    order = random.choice("<>")
    packed = struct.pack(
        f"{order}I", random.choice((*_NUMBERS, len(whole), random.randrange(2**32)))
    )
    kept = packed[: random.choice((1, 2, 4))]
    at = random.choice((random.randrange(len(made)), max(0, len(made) - 1 - random.randrange(64))))
    made[at : at + len(kept)] = kept
    return bytes(made)


def _cut(random: Random, whole: bytes) -> bytes:
    a, b = sorted(random.randrange(len(whole) + 1) for _ in range(2))
    return random.choice((whole[:a], whole[a:], whole[:a] + whole[b:]))


def _spliced(random: Random, whole: bytes) -> bytes:
    _, other = TABLES[random.choice(list(TABLES))]
    a, b, c = (random.randrange(n + 1) for n in (len(whole), len(whole), len(other)))
    return random.choice(
        (whole[:a] + whole[b:], whole[:a] + other[c:], whole[:a] + other + whole[a:])
    )


def _inserted(random: Random, whole: bytes) -> bytes:
    at = random.randrange(len(whole) + 1)
    piece = random.choice(_PIECES) * random.choice((1, 1, 2, 1000))
    return whole[:at] + piece + whole[at:]


def outcome(folder: Path, name: str, content: bytes, options: dict[str, Any]) -> str:
    """Read a file; one of OUTCOMES."""
    arrays = Path(tempfile.mkdtemp(dir=folder))
    try:
        read_all(folder / "file", arrays, content, name, **options)
    except (InvalidError, TooLargeError) as problem:
        problem.detail.encode()  # it travels as UTF-8
        return "refused"
    except MemoryError:
        return "out of memory"
    finally:
        shutil.rmtree(arrays)
    return "read"


def main() -> None:
    """Read files until all are read, or one has another outcome."""
    seed, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    warnings.simplefilter("ignore")  # as in the service, where warnings end nothing
    for name, content in TABLES.values():  # load what is loaded at the first use
        outcome(folder, name, content, {})
    seen: Counter[str] = Counter()
    with at_most(LIMIT_BYTES):
        for name, content, options in files(seed, count):
            seen[outcome(folder, name, content, options)] += 1
    peak = peak_resident_bytes()
    print(json.dumps({**seen, "peak_bytes": peak}))  # noqa: T201 (to the test)


if __name__ == "__main__":
    main()
