"""Poisson sampling: rates, independence, microbatches by rows, units."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from batchgrad_workers.arrays import Integers
from batchgrad_workers.data.sampler import Minibatch
from batchgrad_workers.privacy import sampling
from batchgrad_workers.privacy.chacha import words
from batchgrad_workers.privacy.sampling import PoissonSampler
from tests.workers.splits import drawn

KEY = bytes(range(32))
STEPS = 4000


def sampler(
    rows: int = 40,
    batch_size: int = 10,
    *,
    fraction: float = 0.0,
    key: bytes = KEY,
    seed: int = 0,
    units: Integers | None = None,
) -> PoissonSampler:
    return PoissonSampler(
        drawn(rows, fraction), seed=seed, batch_size=batch_size, key=key, units=units
    )


def members(of: PoissonSampler, steps: int = STEPS, size: int = 3) -> Integers:
    """(steps, rows of the dataset), 1 where a row is in a step's minibatch."""
    found = np.zeros((steps, int(of.training.max()) + 1), np.int64)
    for step in range(steps):
        found[step, of.draw(step, size).ids] += 1
    return found


def parts(batch: Minibatch) -> list[list[int]]:
    return [batch.ids[batch.places(m, m + 1)].tolist() for m in range(batch.microbatches)]


def assert_binomial(count: int, trials: int, q: float) -> None:
    assert abs(count - trials * q) < 4 * np.sqrt(trials * q * (1 - q)), (count, trials * q)


@pytest.fixture(scope="module")
def quarter() -> Integers:
    """Members of 4000 minibatches of 10 of 40 rows, on average."""
    return members(sampler())


def test_each_row_is_in_a_minibatch_with_probability_q(quarter: Integers) -> None:
    assert set(np.unique(quarter)) == {0, 1}
    for row in quarter.T:
        assert_binomial(int(row.sum()), STEPS, 0.25)


def test_rows_are_drawn_independently_of_each_other(quarter: Integers) -> None:
    pairs = (quarter.T @ quarter)[np.triu_indices(40, 1)]
    figures = (pairs - STEPS / 16) / np.sqrt(STEPS / 16 * (15 / 16))

    assert np.abs(figures).max() < 5  # of 780 pairs
    assert abs(figures.mean()) < 0.3


def test_steps_are_drawn_independently_of_each_other(quarter: Integers) -> None:
    for lag in (1, 2, 4):
        both = quarter[:-lag] & quarter[lag:]
        assert_binomial(int(both.sum()), both.size, 1 / 16)


def test_sizes_are_binomial(quarter: Integers) -> None:
    sizes = quarter.sum(1)
    expected = stats.binom.pmf(np.arange(41), 40, 0.25) * STEPS
    often = expected > 5

    assert sizes.var() > 6  # those of fixed size have none
    counts = np.bincount(sizes, minlength=41)
    rest = (counts[~often].sum(), expected[~often].sum())
    figures = stats.chisquare([*counts[often], rest[0]], [*expected[often], rest[1]])
    assert figures.pvalue > 0.001


@pytest.mark.parametrize(("rows", "size"), [(40, 10), (3, 1), (60_000, 1024), (7, 6)])
def test_a_row_is_in_if_its_word_is_below_q(rows: int, size: int) -> None:
    of = sampler(rows, size)
    expected = [
        row
        for row, word in enumerate(words(KEY, 9, 0, rows).tolist())
        if Fraction(word + 1, 2**64) <= Fraction(size, rows)
    ]

    assert of.rate == Fraction(size, rows)
    assert of.draw(9, 2).ids.tolist() == expected
    assert of.minibatch(9).tolist() == expected


def test_the_threshold_is_q_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    below = 2**64 // 3  # q = 1/3
    given_words = np.array([0, below - 1, below, 2**64 - 1, below - 2, below + 1], np.uint64)
    monkeypatch.setattr(sampling, "words", lambda *_: given_words)

    assert sampler(6, 2).draw(0, 1).ids.tolist() == [0, 1, 4]


def test_key_and_step_choose_rows_and_the_public_seed_does_not() -> None:
    def drawings(of: PoissonSampler, steps: range) -> set[bytes]:
        return {of.draw(step, 8).ids.tobytes() for step in steps}

    here = drawings(sampler(500, 50), range(50))
    assert len(here) == 50
    assert drawings(sampler(500, 50, seed=1), range(50)) == here
    assert not here & drawings(sampler(500, 50), range(50, 100))
    assert not here & drawings(sampler(500, 50, key=bytes(32)), range(50))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 90), st.integers(1, 100), st.integers(1, 40), st.sampled_from([0.0, 0.3]))
def test_microbatches_are_blocks_of_training_rows(
    rows: int, batch_size: int, size: int, fraction: float
) -> None:
    of = sampler(rows, batch_size, fraction=fraction)
    n = len(of.training)
    block = ceil(Fraction(n * size, min(batch_size, n)))

    assert of.microbatches(size) == ceil(n / block)
    for step in range(3):
        batch = of.draw(step, size)
        assert batch.starts is None
        assert batch.microbatches == of.microbatches(size)
        assert (batch.bounds[0], batch.bounds[-1]) == (0, len(batch.ids))
        for m, part in enumerate(parts(batch)):
            assert part == sorted(part)
            assert set(part) <= set(of.training[m * block : (m + 1) * block].tolist())


def test_empty_minibatches_and_microbatches_keep_their_places() -> None:
    of = sampler(20, 1)
    batches = [of.draw(step, 1) for step in range(200)]

    sizes = [len(each.ids) for each in batches]
    assert_binomial(sizes.count(0), 200, 0.95**20)
    assert {each.microbatches for each in batches} == {of.microbatches(1)} == {1}
    of = sampler(30, 10)
    batches = [of.draw(step, 2) for step in range(200)]
    assert {each.microbatches for each in batches} == {5}
    assert any([] in parts(each) and len(each.ids) > 0 for each in batches)


@pytest.mark.parametrize("batch_size", [12, 100])
def test_a_full_batch_has_every_row(batch_size: int) -> None:
    of = sampler(12, batch_size)

    assert of.rate == 1
    for step in range(5):
        assert parts(of.draw(step, 5)) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]


def test_no_training_rows_make_empty_minibatches() -> None:
    of = sampler()
    none = replace(of.split, training=of.training[:0])
    empty = PoissonSampler(none, seed=0, batch_size=3, key=KEY).draw(0, 2)

    assert (len(empty.ids), empty.microbatches) == (0, 0)


def people(rows: int, count: int) -> Integers:
    """Whose row it is, in no order: between 1 and many rows a person."""
    random = np.random.default_rng(4)
    return 100 + 7 * np.minimum(random.integers(0, count, rows), random.integers(0, count, rows))


@pytest.mark.parametrize("fraction", [0.0, 0.2])
def test_all_training_rows_of_a_unit_are_drawn_together(fraction: float) -> None:
    units = people(60, 15)
    of = sampler(60, 20, fraction=fraction, units=units)
    everybody = set(units[of.training].tolist())
    times = dict.fromkeys(everybody, 0)
    for step in range(2000):
        batch = of.draw(step, 4)
        seen = units[batch.ids]
        assert batch.starts is not None
        assert seen[batch.starts].tolist() == list(dict.fromkeys(seen.tolist()))
        for unit in set(seen.tolist()):
            rows = of.training[units[of.training] == unit]
            assert batch.ids[seen == unit].tolist() == rows.tolist()
            times[unit] += 1

    assert of.units == len(everybody)
    for count in times.values():
        assert_binomial(count, 2000, 20 / len(of.training))


def test_no_unit_is_in_two_microbatches() -> None:
    units = people(90, 30)
    of = sampler(90, 45, units=units)
    homes: dict[int, int] = {}
    for step in range(50):
        batch = of.draw(step, 6)
        assert batch.starts is not None
        assert batch.microbatches == of.microbatches(6) == ceil(90 / 12)
        found = []
        for m, part in enumerate(parts(batch)):
            for unit in set(units[part].tolist()):
                assert homes.setdefault(unit, m) == m
            starts = batch.starts_in(batch.places(m, m + 1))
            assert starts is not None
            found += (starts + batch.bounds[m]).tolist()
        assert found == batch.starts.tolist()
    assert len(set(homes.values())) > 5


@pytest.mark.parametrize("numbers", [lambda n: np.zeros(n, np.int64), lambda n: -np.arange(n)])
def test_one_unit_of_all_rows_and_one_for_each(numbers: Callable[[int], Integers]) -> None:
    of = sampler(30, 15, units=numbers(30))
    batches = [of.draw(step, 5) for step in range(300)]

    sizes = np.array([len(each.ids) for each in batches])
    if of.units == 1:
        assert set(sizes.tolist()) == {0, 30}
        assert_binomial(int((sizes == 30).sum()), 300, 0.5)
        assert all(parts(each)[1:] == [[], []] for each in batches)
    else:
        assert of.units == 30
        assert_binomial(int(sizes.sum()), 9000, 0.5)


def test_a_full_batch_of_units_has_every_row_by_units() -> None:
    units = np.array([5, 3, 5, 4, 3, 5])
    batch = sampler(6, 6, units=units).draw(0, 2)

    assert batch.ids.tolist() == [1, 4, 3, 0, 2, 5]
    assert batch.starts is not None
    assert batch.starts.tolist() == [0, 2, 3]
    assert parts(batch) == [[1, 4], [3, 0, 2, 5], []]
