"""Tables that are larger than the memory that their reader may use."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pytest
from pyarrow import parquet

from tests.service.reading.test_memory import MB, told

ROWS = 50_000
PIECES = 60
"""Of 50,000 rows: 1.2 GB of CSV."""


def piece() -> pa.Table:
    random = np.random.default_rng(0)
    cities = np.array([f"city {n}" for n in range(50)])
    numbers = {f"n{n}": random.normal(size=ROWS) for n in range(20)}
    names = {f"c{n}": cities[random.integers(0, 50, ROWS)] for n in range(5)}
    return pa.table({**numbers, **names, "id": [f"{n:032x}" for n in range(ROWS)]})


def write_csv(path: Path, table: pa.Table) -> None:
    with pyarrow.csv.CSVWriter(path, table.schema) as writer:
        for _ in range(PIECES):
            writer.write_table(table)


def write_parquet(path: Path, table: pa.Table) -> None:
    parquet.write_table(pa.concat_tables([table] * PIECES), path, row_group_size=10**9)


def write_arrow(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        for _ in range(PIECES):
            writer.write_table(table)


def write_json_lines(path: Path, table: pa.Table) -> None:
    lines = table.to_pandas().to_json(orient="records", lines=True).encode()
    with path.open("wb") as file:
        for _ in range(PIECES // 10):
            file.write(lines)


@pytest.mark.parametrize(
    ("name", "write", "pieces"),
    [
        ("a.csv", write_csv, PIECES),
        ("a.parquet", write_parquet, PIECES),
        ("a.arrow", write_arrow, PIECES),
        ("a.jsonl", write_json_lines, PIECES // 10),
    ],
)
def test_a_large_table_is_read_with_little_memory(
    tmp_path: Path, name: str, write: Callable[[Path, pa.Table], None], pieces: int
) -> None:
    write(tmp_path / name, piece())
    seen = told(tmp_path / name, 250 * MB)
    (tmp_path / name).unlink()
    assert seen.get("rows") == ROWS * pieces, seen
    if name != "a.arrow":  # whose mapped pages count, as long as nobody else needs the memory
        assert seen["peak_bytes"] < 400 * MB
