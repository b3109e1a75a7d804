"""The sampler: a step's examples depend on the seed and the step alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.randomness import Purpose, generator
from tests.workers.splits import drawn


def sampler(
    seed: int = 0, examples: int = 103, fraction: float = 0.2, batch_size: int = 16
) -> Sampler:
    return Sampler(drawn(examples, fraction, seed), seed=seed, batch_size=batch_size)


def epoch(of: Sampler, number: int) -> list[int]:
    steps = range(number * of.steps_per_epoch, (number + 1) * of.steps_per_epoch)
    return np.concatenate([of.minibatch(step) for step in steps]).tolist()


@settings(max_examples=60, derandomize=True)
@given(st.integers(0, 2**63 - 1), st.integers(1, 60), st.floats(0, 0.99), st.integers(1, 80))
def test_every_epoch_sees_every_training_example_once(
    seed: int, examples: int, fraction: float, batch_size: int
) -> None:
    of = sampler(seed, examples, fraction, batch_size)

    assert len(of.validation) == int(fraction * examples)
    assert sorted([*of.training, *of.validation]) == list(range(examples))
    for number in (0, 3):
        assert sorted(epoch(of, number)) == sorted(of.training)
    sizes = [len(of.minibatch(step)) for step in range(of.steps_per_epoch)]
    assert all(size == of.batch_size for size in sizes[:-1])
    assert 1 <= sizes[-1] <= of.batch_size


def test_validation_is_the_start_of_the_split_permutation() -> None:
    permutation = generator(9, "split").permutation(103)

    assert set(sampler(9).validation.tolist()) == set(permutation[:20].tolist())


def test_the_split_does_not_depend_on_the_batch_size() -> None:
    assert sampler(batch_size=5).validation.tolist() == sampler(batch_size=50).validation.tolist()


def test_epochs_and_seeds_are_ordered_differently() -> None:
    epochs = [epoch(sampler(), 0), epoch(sampler(), 1), epoch(sampler(), 2), epoch(sampler(1), 0)]

    assert len({tuple(each) for each in epochs}) == 4


def test_a_step_depends_on_no_step_before_it() -> None:
    walked = sampler()
    visited = [walked.minibatch(step).tolist() for step in range(25)]

    for step in (24, 3, 17, 0):
        assert sampler().minibatch(step).tolist() == visited[step]
        assert walked.minibatch(step).tolist() == visited[step]


def test_steps_belong_to_epochs() -> None:
    of = sampler(examples=10, fraction=0.0, batch_size=4)

    assert of.steps_per_epoch == 3
    assert [of.epoch(step) for step in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert [len(of.minibatch(step)) for step in range(4)] == [4, 4, 2, 4]


@pytest.mark.parametrize("purpose", ["parameters", "split", "shuffle"])
def test_random_numbers_depend_on_seed_purpose_and_epoch_alone(purpose: Purpose) -> None:
    def draw(seed: int, purpose: Purpose, epoch: int) -> float:
        return generator(seed, purpose, epoch).random()

    others: set[Purpose] = {"parameters", "split", "shuffle"} - {purpose}  # type: ignore[assignment]
    assert draw(1, purpose, 2) == draw(1, purpose, 2)
    different = [draw(1, purpose, 2), draw(2, purpose, 1), draw(1, purpose, 3)]
    different += [draw(1, other, 2) for other in sorted(others)]
    assert len(set(different)) == 5
