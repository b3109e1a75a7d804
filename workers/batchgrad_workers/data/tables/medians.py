"""Exact medians of columns that are read in chunks, in a bounded amount of memory."""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Floats

Keys = npt.NDArray[np.uint64]

DIGIT_BITS = 16
SIGN = np.uint64(1 << 63)


def medians(chunks: Callable[[], Iterable[Array]], columns: int) -> Floats:
    """The median (columns,) of chunks (n, columns), without NaN; of nothing but NaN it is 0.

    A float64 is a key of 64 bits, in the same order. Each of four passes counts the next 16 bits
    of those keys that begin as the key of the wanted rank does: 1 MiB of counts a column.
    """
    ranks = np.zeros((columns, 2), np.int64)
    for part in chunks():
        ranks += (~np.isnan(part)).sum(axis=0)[:, None]
    empty = ranks[:, 0] == 0
    ranks = np.maximum((ranks - [1, 0]) // 2, 0)  # below the middle, and above it
    keys = np.zeros((columns, 2), np.uint64)
    for shift in range(64 - DIGIT_BITS, -1, -DIGIT_BITS):
        counts = np.zeros((columns, 2, 1 << DIGIT_BITS), np.int64)
        for part in chunks():
            for column in range(columns):
                _count(_keys(part[:, column]), shift, keys[column], counts[column])
        until = counts.cumsum(axis=2)
        digits = (until <= ranks[:, :, None]).sum(axis=2)
        below = np.take_along_axis(
            until - counts, np.minimum(digits, until.shape[2] - 1)[..., None], 2
        )
        ranks -= below[..., 0]
        keys = (keys << np.uint64(DIGIT_BITS)) | digits.astype(np.uint64)
    middle = _numbers(keys)
    return np.where(empty, 0.0, middle[:, 0] / 2 + middle[:, 1] / 2)


def _count(of: Keys, shift: int, begin: Keys, counts: npt.NDArray[np.int64]) -> None:
    """Add how often each digit at `shift` follows each of the two beginnings."""
    first = of >> np.uint64(shift)
    digits = (first & np.uint64((1 << DIGIT_BITS) - 1)).astype(np.int64)
    first >>= np.uint64(DIGIT_BITS)
    for side in range(2):
        counts[side] += np.bincount(digits[first == begin[side]], minlength=1 << DIGIT_BITS)


def _keys(numbers: Array) -> Keys:
    """Keys of the numbers that are not NaN."""
    bits = np.ascontiguousarray(numbers[~np.isnan(numbers)]).view(np.uint64)
    return np.where(bits & SIGN, ~bits, bits | SIGN)


def _numbers(keys: Keys) -> Floats:
    return np.where(keys & SIGN, keys ^ SIGN, ~keys).view(np.float64)
