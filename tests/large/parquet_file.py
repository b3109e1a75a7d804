"""Make a Parquet file of any size in pieces: numbers with gaps, categories, dates, labels."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

NUMBERS = 95
GAPS = 5
"""Of the columns of numbers, have a gap in one row of 20."""

ROWS_IN_GROUP = 2**20
"""As pandas and pyarrow write them."""

_ROW_BYTES = 4 * NUMBERS + 12
_PLANS = np.array(["basic", "plus", "pro"])
_CITIES = np.array([f"city {n}" for n in range(50)])
_PIECE = 2**18


def write_parquet(path: Path, gigabytes: float) -> int:
    """Write random rows, which nothing compresses, of so many bytes; return their number.

    The target, yes or no, depends on the first numbers and the plan, with noise.
    """
    random = np.random.default_rng(0)
    rows = int(gigabytes * 1e9 / _ROW_BYTES)
    with parquet.ParquetWriter(
        path,
        _piece(random, 1).schema,
        compression="none",
        use_dictionary=["plan", "city", "answer"],
    ) as writer:
        for first in range(0, rows, ROWS_IN_GROUP):
            group = min(ROWS_IN_GROUP, rows - first)
            parts = [min(_PIECE, group - at) for at in range(0, group, _PIECE)]
            writer.write_table(
                pa.concat_tables([_piece(random, part) for part in parts]),
                row_group_size=ROWS_IN_GROUP,
            )
    return rows


def write_part(path: Path, rows: int) -> None:
    """Write other rows of the same kind."""
    parquet.write_table(_piece(np.random.default_rng(1), rows), path)


def _piece(random: np.random.Generator, rows: int) -> pa.Table:
    numbers = [random.random(rows, np.float32) for _ in range(NUMBERS)]
    plan = random.integers(0, len(_PLANS), rows)
    score = 4 * (numbers[0] + numbers[1] - numbers[2] - 0.5) + plan - 1
    answer = random.random(rows, np.float32) < 1 / (1 + np.exp(-score))
    columns: dict[str, pa.Array] = {
        f"n{index}": pa.array(values, mask=_gaps(random, rows, index))
        for index, values in enumerate(numbers)
    }
    columns["plan"] = pa.array(_PLANS[plan])
    columns["city"] = pa.array(_CITIES[random.integers(0, len(_CITIES), rows)])
    columns["joined"] = pa.array(random.integers(15_000, 20_000, rows, np.int32)).cast(pa.date32())
    columns["answer"] = pa.array(np.where(answer, "yes", "no"))
    return pa.table(columns)


def _gaps(random: np.random.Generator, rows: int, index: int) -> npt.NDArray[np.bool_] | None:
    return random.random(rows, np.float32) < 0.05 if index >= NUMBERS - GAPS else None
