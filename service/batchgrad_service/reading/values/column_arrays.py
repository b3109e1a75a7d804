"""Columns of a piece as the numbers, texts and codes that a dataset stores.

n row; a column (n,) is an Arrow array as in a Piece.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchgrad_workers.arrays import Integers

EXACT_INTEGERS = 2**53
"""From it on, float64 does not hold every integer."""


def as_text(column: Any) -> Any:
    """The values as texts: of numbers, dates and truth values too."""
    types = pa.types
    if types.is_string(column.type):
        return column
    if types.is_timestamp(column.type):
        plain = column.cast(pa.string())
        return pc.replace_substring_regex(plain, r"( 00:00:00)?(\.0+)?Z?$", "")
    if types.is_integer(column.type) or types.is_floating(column.type):
        return number_texts(column)
    return column.cast(pa.string())


def number_texts(column: Any) -> Any:
    """Numbers (n,) as texts: 3 also for 3.0."""
    if pa.types.is_integer(column.type):
        return column.cast(pa.string())
    whole = pc.and_(
        pc.equal(column, pc.floor(column)), pc.less(pc.abs(column), float(EXACT_INTEGERS))
    )
    integers = pc.cast(pc.if_else(whole, column, pa.scalar(0.0, column.type)), pa.int64())
    return pc.if_else(whole, integers.cast(pa.string()), column.cast(pa.string()))


def fixed_bytes(column: Any, length: int) -> npt.NDArray[np.bytes_]:
    """Texts (n,) without gaps as UTF-8 of `length` bytes each, filled up with zeros."""
    whole = pa.concat_arrays([column.cast(pa.large_string())])  # begins at 0, a slice may not
    _, offsets, content = whole.buffers()
    bounds = np.frombuffer(offsets, np.int64)[: len(column) + 1]
    lengths = np.diff(bounds)
    found = np.zeros((len(column), length), np.uint8)
    if bounds[-1]:
        characters = np.frombuffer(content, np.uint8)[: bounds[-1]]
        rows = np.repeat(np.arange(len(column)), lengths)
        within = np.arange(len(characters)) - np.repeat(bounds[:-1], lengths)
        found[rows, within] = characters
    return found.view(f"S{length}").reshape(len(column))


class Numbering:
    """Numbers texts 0, 1, … in the order in which they first appear, over all pieces."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def add(self, column: Any) -> Integers:
        """Return the numbers (n,) of texts without gaps."""
        coded = column.dictionary_encode()  # codes by first appearance, too
        new = [self.numbers.setdefault(x, len(self.numbers)) for x in coded.dictionary.to_pylist()]
        return np.array(new, np.int64)[coded.indices.to_numpy()]
