"""Splits: which rows are held out, for each rule."""

from collections import Counter
from itertools import chain
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgrad.contract import Validation
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.split import CannotSplit, Split, split
from batchgrad_workers.randomness import generator
from batchgrad_workers.system.process_memory import at_most
from tests.workers.splits import drawn

CLASSES = np.repeat([0, 1, 2], [70, 25, 5])


def stored(**arrays: Any) -> StoredDataset:
    rows = len(next(iter(arrays.values())))
    seen = {"inputs": np.zeros((rows, 1)), "targets": arrays.pop("targets", np.zeros(rows))}
    return StoredDataset(seen, **arrays)


def covers(of: Split, rows: list[int]) -> bool:
    """Whether the sets are ascending, disjoint, and together these rows."""
    sets = [each.tolist() for each in (of.training, of.validation, of.test)]
    return all(each == sorted(each) for each in sets) and sorted(chain(*sets)) == rows


def test_without_a_rule_or_with_another_dataset_all_rows_are_training_rows() -> None:
    for rule in (None, Validation(dataset="other")):
        assert split(rule, stored(targets=CLASSES), seed=3).training.tolist() == list(range(100))


@settings(max_examples=60, derandomize=True)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.floats(0.01, 0.99), st.data())
def test_a_stratified_fraction_has_the_size_of_another_and_each_class_its_part(
    classes: list[int], fraction: float, data: st.DataObject
) -> None:
    present = data.draw(st.none() | st.sets(st.integers(0, len(classes) - 1), min_size=1))
    rows = list(range(len(classes))) if present is None else sorted(present)
    dataset = stored(targets=np.array(classes))
    chosen = None if present is None else np.array(rows)
    rule = Validation(fraction=fraction, stratify=True)

    found = split(rule, dataset, seed=1, present=chosen)

    plain = split(Validation(fraction=fraction), dataset, seed=1, present=chosen)
    assert len(found.validation) == len(plain.validation)
    assert covers(found, rows)
    sizes = Counter(classes[row] for row in rows)
    held_out = Counter(classes[row] for row in found.validation)
    assert all(abs(held_out[each] - fraction * sizes[each]) < 1 for each in sizes)


def test_a_stratified_fraction_takes_each_class_s_first_rows_of_the_permutation() -> None:
    found = split(Validation(fraction=0.2, stratify=True), stored(targets=CLASSES), seed=4)

    permutation = generator(4, "split").permutation(100).tolist()
    first = [[row for row in permutation if CLASSES[row] == each] for each in range(3)]
    assert found.validation.tolist() == sorted(first[0][:14] + first[1][:5] + first[2][:1])


def test_a_stratified_fraction_rounds_up_where_the_remainder_is_largest() -> None:
    classes = np.array([0, 1, 1, 1, 1, 1, 1, 1, 0, 0])  # 40 %: 1.2 and 2.8 of 4
    found = split(Validation(fraction=0.4, stratify=True), stored(targets=classes), seed=0)
    assert sorted(classes[found.validation].tolist()) == [0, 1, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_units_stay_whole(seed: int) -> None:
    units = np.array([7, 7, 1, 1, 1, 9, 4, 4, 9, 2] * 6)
    rule = Validation(fraction=0.55, by_unit=True)  # 2.75 units

    found = split(rule, stored(units=units), seed=seed)

    held_out = set(units[found.validation].tolist())
    assert len(held_out) == floor(0.55 * 5)
    assert not held_out & set(units[found.training].tolist())
    assert covers(found, list(range(60)))


def test_units_without_a_present_row_are_not_drawn() -> None:
    units = np.repeat(np.arange(10), 2)
    present = np.arange(8)

    found = split(
        Validation(fraction=0.5, by_unit=True), stored(units=units), seed=0, present=present
    )

    assert len(found.validation) == 4  # 2 of the 4 units
    assert covers(found, present.tolist())


def test_a_column_names_each_row_s_set() -> None:
    sets = np.array([0, 1, 2, 0, 1, 2, 0], np.uint8)
    present = np.array([0, 1, 2, 3, 5, 6])

    found = split(Validation(rows="set"), stored(split=sets), seed=0, present=present)

    assert found.training.tolist() == [0, 3, 6]
    assert found.validation.tolist() == [1]
    assert found.test.tolist() == [2, 5]
    assert found.present is present


@pytest.mark.parametrize(
    ("rule", "remedy"),
    [
        (Validation(rows="set"), "--split COLUMN"),
        (Validation(fraction=0.5, by_unit=True), "--units COLUMN"),
        (Validation(fraction=0.5, stratify=True), "stratify needs classes"),
    ],
)
def test_a_dataset_without_what_a_rule_needs_is_refused(rule: Validation, remedy: str) -> None:
    with pytest.raises(CannotSplit, match=remedy):
        split(rule, stored(targets=np.zeros(4)), seed=0)


def test_seeds_differ_and_a_plain_fraction_is_the_permutation_s_start() -> None:
    assert drawn(50, 0.3, seed=1).validation.tolist() != drawn(50, 0.3, seed=2).validation.tolist()
    start = generator(1, "split").permutation(50)[:15]
    assert drawn(50, 0.3, seed=1).validation.tolist() == sorted(start.tolist())


@pytest.mark.parametrize("rule", [{"fraction": 0.1}, {"fraction": 0.1, "stratify": True}])
def test_a_split_takes_few_bytes_for_each_row(rule: dict[str, Any]) -> None:
    rows = 2_000_000
    targets = np.arange(rows) % 3
    dataset = StoredDataset({"inputs": np.empty((rows, 0), np.float32), "targets": targets})
    with at_most(13 * rows + 2**24):
        found = split(Validation(**rule), dataset, seed=0)
    assert len(found.validation) == rows // 10
