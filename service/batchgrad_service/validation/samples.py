"""Look at a bounded part of a stored array: lowest and highest of each column, whole numbers.

n example; an array (n, …) is seen as rows (n, columns).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Integers

_Array = npt.NDArray[Any]

MOST_NUMBERS = 1 << 22
"""So many are looked at, some tens of milliseconds; of larger arrays in parts evenly apart."""

MOST_COLUMNS = 1 << 20
_PARTS = 64


@dataclass(frozen=True)
class Sample:
    """What `rows` of the examples hold; `lowest` and `highest` (columns,) are float64."""

    rows: int
    lowest: npt.NDArray[np.float64]
    highest: npt.NDArray[np.float64]
    whole: bool


def look(array: _Array, present: Integers | None = None) -> Sample:
    """Look at `array` (n, …), or at its rows `present`, of which there is one at least."""
    rows, whole = 0, True
    lowest = highest = np.empty(0)
    count = len(array) if present is None else len(present)
    columns = min(array[:1].size, MOST_COLUMNS)
    for part in _parts(count, columns):
        block = array[part] if present is None else array[present[part]]
        block = block.reshape(len(block), -1)[:, :MOST_COLUMNS]
        low, high = block.min(0).astype(np.float64), block.max(0).astype(np.float64)
        lowest = np.minimum(lowest, low) if rows else low
        highest = np.maximum(highest, high) if rows else high
        whole = whole and (block.dtype.kind in "iu" or bool((block == np.floor(block)).all()))
        rows += len(block)
    return Sample(rows, lowest, highest, whole)


def _parts(count: int, columns: int) -> Iterator[slice]:
    """Some of `count` rows after some: all of them, or parts evenly apart."""
    size = max(1, MOST_NUMBERS // (_PARTS * columns))
    starts = np.arange(0, count, size)
    if len(starts) > _PARTS:
        starts = np.linspace(0, count - size, _PARTS).astype(np.int64)
    for start in starts.tolist():
        yield slice(start, start + size)
