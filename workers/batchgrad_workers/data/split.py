"""Split a dataset's rows into training, validation and test rows."""

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
    rows = np.arange(len(dataset.inputs)) if present is None else present
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
        return _stratified(fraction, seed, rows, dataset.targets)
    permutation = rows[generator(seed, "split").permutation(len(rows))]
    held_out = floor(fraction * len(rows))
    return Split(np.sort(permutation[held_out:]), np.sort(permutation[:held_out]))


def _by_column(rows: Integers, sets: _Array | None) -> Split:
    if sets is None:
        raise CannotSplit(
            "the dataset has no column that names each row's set: push it with --split COLUMN."
        )
    return Split(*(rows[sets[rows] == number] for number in range(len(SPLIT_SETS))))


def _by_unit(fraction: Fraction, seed: int, rows: Integers, units: _Array | None) -> Split:
    """Hold out the first ⌊f·U⌋ of a permutation of the U units."""
    if units is None:
        raise CannotSplit(
            "the dataset has no units: push it with --units COLUMN, or with an array units."
        )
    _, number = np.unique(units[rows], return_inverse=True)
    count = int(number.max(initial=-1)) + 1
    held_out = np.zeros(count, np.bool_)
    held_out[generator(seed, "split").permutation(count)[: floor(fraction * count)]] = True
    return Split(rows[~held_out[number]], rows[held_out[number]])


def _stratified(fraction: Fraction, seed: int, rows: Integers, targets: _Array) -> Split:
    """Hold out ⌊f·n⌋ rows, of each class f times its rows, rounded by the largest remainders.

    They are each class's first ones in the permutation that an unstratified split uses.
    """
    if targets.dtype.kind not in "iu":
        raise CannotSplit("the targets are numbers: stratify needs classes.")
    permutation = rows[generator(seed, "split").permutation(len(rows))]
    order = np.argsort(targets[permutation], kind="stable")  # by class, each in permuted order
    _, starts, sizes = np.unique(targets[permutation][order], return_index=True, return_counts=True)
    exact = [fraction * int(size) for size in sizes]
    counts = [floor(each) for each in exact]
    missing = floor(fraction * len(rows)) - sum(counts)
    by_remainder = sorted(range(len(counts)), key=lambda index: counts[index] - exact[index])
    for index in by_remainder[:missing]:
        counts[index] += 1
    chosen = np.zeros(len(rows), np.bool_)
    for start, count in zip(starts, counts, strict=True):
        chosen[order[start : start + count]] = True
    return Split(np.sort(permutation[~chosen]), np.sort(permutation[chosen]))
