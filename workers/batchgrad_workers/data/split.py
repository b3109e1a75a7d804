"""Split a dataset's rows into training, validation and test rows."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract import RowSet, Validation
from batchgrad_workers.arrays import Integers
from batchgrad_workers.data.dataset import SPLIT_SETS, StoredDataset
from batchgrad_workers.randomness import generator

_Array = npt.NDArray[Any]
_NONE = np.empty(0, np.int64)
_CHUNK = 1 << 18


NO_UNITS = "the dataset has no units: push it with --units COLUMN, or with an array units."


class CannotSplit(ValueError):
    """The dataset lacks what the rule needs."""


@dataclass(frozen=True)
class Split:
    """Ascending row numbers of each set; no row is in two of them.

    `present` are those with a weight above 0, None if that is all rows.
    """

    training: Integers
    validation: Integers = field(default_factory=_NONE.copy)
    test: Integers = field(default_factory=_NONE.copy)
    present: Integers | None = None

    def rows_of(self, name: RowSet) -> Integers:
        """The rows of one set, by its name."""
        return {"training": self.training, "validation": self.validation, "test": self.test}[name]


def split(
    rule: Validation | None, dataset: StoredDataset, *, seed: int, present: Integers | None = None
) -> Split:
    """Split the dataset's rows, or those `present` (ascending row numbers), as `rule` says.

    Without a rule, or with another dataset for validation, all of them are training rows.

    Raises:
        CannotSplit: the rule needs classes, units or sets, and there are none.
    """
    count = len(dataset)
    rows = _row_numbers(count) if present is None else present.astype(_row_dtype(count))
    return replace(_split(rule, dataset, seed, rows), present=present)


def _split(rule: Validation | None, dataset: StoredDataset, seed: int, rows: Integers) -> Split:
    if rule is None or rule.dataset is not None:
        return Split(rows)
    if rule.rows is not None:
        return _by_column(rows, dataset.split)
    fraction = Fraction(str(rule.fraction))  # 0.29 of 100 is 29
    if rule.by_unit:
        return _by_unit(fraction, seed, rows, dataset.units)
    if rule.stratify:
        return _stratified(fraction, seed, rows, dataset.arrays.get("targets"))
    count = floor(fraction * len(rows))
    return _holding_out(rows, generator(seed, "split").permutation(rows)[:count].copy())


def unit_numbers(dataset: StoredDataset) -> Integers:
    """The number of each row's unit (rows,).

    Raises:
        CannotSplit: the dataset has no units.
    """
    if dataset.units is None:
        raise CannotSplit(NO_UNITS)
    return np.unique(dataset.units, return_inverse=True)[1]


def _by_column(rows: Integers, sets: _Array | None) -> Split:
    if sets is None:
        raise CannotSplit(
            "the dataset has no column that names each row's set: push it with --split COLUMN, or "
            "with an array split."
        )
    return Split(*(rows[sets[rows] == number] for number in range(len(SPLIT_SETS))))


def _by_unit(fraction: Fraction, seed: int, rows: Integers, units: _Array | None) -> Split:
    """Hold out the first ⌊f·U⌋ of a permutation of the U units."""
    if units is None:
        raise CannotSplit(NO_UNITS)
    _, number = np.unique(units[rows], return_inverse=True)
    count = int(number.max(initial=-1)) + 1
    held_out = np.zeros(count, np.bool_)
    held_out[generator(seed, "split").permutation(count)[: floor(fraction * count)]] = True
    return Split(rows[~held_out[number]], rows[held_out[number]])


def _stratified(fraction: Fraction, seed: int, rows: Integers, targets: _Array | None) -> Split:
    """Hold out ⌊f·n⌋ rows, of each class f times its rows, rounded by the largest remainders.

    They are each class's first ones in the permutation that an unstratified split uses.
    """
    if targets is None or targets.ndim != 1:
        given = "no targets" if targets is None else f"targets of shape {list(targets.shape)}"
        raise CannotSplit(
            f"the dataset has {given}: stratify needs classes (n,) in an array targets."
        )
    if targets.dtype.kind not in "iu":
        raise CannotSplit("the targets are numbers: stratify needs classes.")
    sizes = Counter[int]()
    for start in range(0, len(rows), _CHUNK):
        found = np.unique(targets[rows[start : start + _CHUNK]], return_counts=True)
        sizes.update(dict(zip(*(each.tolist() for each in found), strict=True)))
    classes = np.array(sorted(sizes), targets.dtype)
    exact = [fraction * sizes[each] for each in classes.tolist()]
    counts = [floor(each) for each in exact]
    missing = floor(fraction * len(rows)) - sum(counts)
    by_remainder = sorted(range(len(counts)), key=lambda index: counts[index] - exact[index])
    for index in by_remainder[:missing]:
        counts[index] += 1
    firsts = _firsts(generator(seed, "split").permutation(rows), targets, classes, counts)
    return _holding_out(rows, np.concatenate([rows[:0], *firsts]))


def _firsts(
    rows: Integers, targets: _Array, classes: _Array, counts: list[int]
) -> Iterator[Integers]:
    """The first `counts` (classes,) of the rows of each class, in pieces."""
    left = np.array(counts)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        numbers = np.searchsorted(classes, targets[part])
        order = np.argsort(numbers, kind="stable")  # by class, each in the order of `rows`
        by_class = numbers[order]
        before = np.arange(len(part)) - np.searchsorted(by_class, by_class)
        yield part[order[before < left[by_class]]]
        left = np.maximum(left - np.bincount(numbers, minlength=len(left)), 0)


def _holding_out(rows: Integers, held_out: Integers) -> Split:
    """Some of the ascending rows are held out, the others are training rows."""
    is_held_out = np.zeros(rows[-1] + 1 if len(rows) else 0, np.bool_)
    is_held_out[held_out] = True
    return Split(rows[~is_held_out[rows]], np.sort(held_out))


def _row_numbers(count: int) -> Integers:
    """0 … `count` - 1, in 32 bits if they fit: their memory bounds the rows that are possible."""
    return np.arange(count, dtype=_row_dtype(count))


def _row_dtype(count: int) -> type[np.signedinteger[Any]]:
    return np.int32 if count < 2**31 else np.int64
