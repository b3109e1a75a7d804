"""Reading takes a bounded memory, and says so where a file needs more."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.service.reading.files import as_arrow, as_parquet

MB = 2**20
SMALL = 24 * MB


def told(path: Path, limit_bytes: int) -> dict[str, Any]:
    """What a process tells that reads the file within the limit."""
    command = [sys.executable, "-m", "tests.service.reading.read_file", str(path), str(limit_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("name", "remedy"), [("a.parquet", "row_group_size=10_000"), ("a.arrow", "chunksize=65536")]
)
def test_a_file_that_needs_more_memory_than_there_is(
    tmp_path: Path, name: str, remedy: str
) -> None:
    random = np.random.default_rng(0)
    table = pa.table({f"c{n}": random.integers(0, 9, 50_000) * 1.5 for n in range(200)})
    if name == "a.parquet":
        content = as_parquet(table, use_dictionary=False)
    else:
        content = as_arrow(table, compression="zstd")
    (tmp_path / name).write_bytes(content)
    assert remedy in told(tmp_path / name, SMALL)["problem"]


def test_a_csv_of_a_thousand_columns_does_not_take_a_block_for_each(tmp_path: Path) -> None:
    """Pyarrow reserves 1 MB for each; the service's default limit is 384 MB."""
    names = ",".join(f"c{n}" for n in range(1500))
    rows = "\n".join(",".join(["0.1234"] * 1499 + [str(row % 2)]) for row in range(150))
    (tmp_path / "a.csv").write_text(f"{names}\n{rows}\n")
    assert told(tmp_path / "a.csv", 256 * MB).get("problem") is None
