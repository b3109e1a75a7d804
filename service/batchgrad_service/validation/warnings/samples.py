"""Sample a stored array: minimum and maximum of each column, and whether all are integers.

n example; an array (n, …) is read as rows (n, columns).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Integers

_Array = npt.NDArray[Any]

MAX_NUMBERS = 1 << 22
"""Numbers in a sample (some tens of milliseconds); larger arrays are sampled in equal steps."""

MAX_COLUMNS = 1 << 20
_PARTS = 64


@dataclass(frozen=True)
class Sample:
    """Minimum and maximum (columns,) of `rows` examples; `integers`: all numbers are integers."""

    rows: int
    lowest: npt.NDArray[np.float64]
    highest: npt.NDArray[np.float64]
    integers: bool


def take_sample(array: _Array, present: Integers | None = None) -> Sample:
    """A sample of `array` (n, …), or of its rows `present`, at least one."""
    rows, integers = 0, True
    lowest = highest = np.empty(0)
    count = len(array) if present is None else len(present)
    columns = min(array[:1].size, MAX_COLUMNS)
    for part in _parts(count, columns):
        block = array[part] if present is None else array[present[part]]
        block = block.reshape(len(block), -1)[:, :MAX_COLUMNS]
        low, high = block.min(0).astype(np.float64), block.max(0).astype(np.float64)
        lowest = np.minimum(lowest, low) if rows else low
        highest = np.maximum(highest, high) if rows else high
        integers = integers and (block.dtype.kind in "iu" or bool((block == np.floor(block)).all()))
        rows += len(block)
    return Sample(rows, lowest, highest, integers)


def _parts(count: int, columns: int) -> Iterator[slice]:
    """Slices of `count` rows: all rows, or parts with equal distances."""
    size = max(1, MAX_NUMBERS // (_PARTS * columns))
    starts = np.arange(0, count, size)
    if len(starts) > _PARTS:
        starts = np.linspace(0, count - size, _PARTS).astype(np.int64)
    for start in starts.tolist():
        yield slice(start, start + size)
