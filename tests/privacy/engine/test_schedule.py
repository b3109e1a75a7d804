"""Schedules of ε: bounds between the steps of a grid."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from batchgrad_engine.privacy.schedule import EpsilonSchedule

SCHEDULE = EpsilonSchedule((1, 10, 100), (0.1, 0.4, 1.5))


@pytest.mark.parametrize(
    ("steps", "epsilon"), [(0, 0.0), (1, 0.1), (2, 0.4), (10, 0.4), (11, 1.5), (100, 1.5)]
)
def test_between_two_steps_of_the_grid_the_next_one_bounds_epsilon(
    steps: int, epsilon: float
) -> None:
    assert SCHEDULE.at(steps) == epsilon


def test_beyond_the_grid_nothing_is_known() -> None:
    message = re.escape("101 steps were charged, but epsilon is known for 100 steps at most")
    with pytest.raises(ValueError, match=message):
        SCHEDULE.at(101)


@pytest.mark.parametrize(
    ("epsilon", "steps"),
    [(0.0, 0), (0.09, 0), (0.1, 1), (0.39, 1), (0.4, 10), (1.5, 100), (9, 100)],
)
def test_the_most_steps_within_epsilon_are_a_step_of_the_grid(epsilon: float, steps: int) -> None:
    assert SCHEDULE.most_steps(epsilon) == steps


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 3)), min_size=1, max_size=20),
    st.floats(0, 70),
)
def test_the_most_steps_spend_no_more_than_epsilon(
    rises: list[tuple[int, float]], epsilon: float
) -> None:
    steps = tuple(sum(step for step, _ in rises[: i + 1]) for i in range(len(rises)))
    epsilons = tuple(1e-9 + sum(rise for _, rise in rises[: i + 1]) for i in range(len(rises)))
    schedule = EpsilonSchedule(steps, epsilons)
    most = schedule.most_steps(epsilon)
    assert schedule.at(most) <= epsilon
    assert most == schedule.last_step or schedule.at(most + 1) > epsilon
    if most:
        assert schedule.within(epsilon).last_step == most


def test_a_schedule_survives_json() -> None:
    adapter = TypeAdapter(EpsilonSchedule)
    assert adapter.validate_json(adapter.dump_json(SCHEDULE)) == SCHEDULE


@pytest.mark.parametrize(
    ("steps", "epsilons", "message"),
    [
        ((), (), "got 0 steps and 0 values of epsilon"),
        ((1, 2), (0.5,), "got 2 steps and 1 values of epsilon"),
        ((0, 2), (0.1, 0.2), "must be 1 or more, and ascend"),
        ((2, 2), (0.1, 0.2), "must be 1 or more, and ascend"),
        ((1, 2), (0.2, 0.1), "must be above 0, and never fall"),
        ((1, 2), (0.2, float("nan")), "must be above 0, and never fall"),
        ((1,), (float("nan"),), "must be above 0, and never fall"),
        ((1,), (0.0,), "must be above 0, and never fall"),
    ],
)
def test_values_that_are_no_schedule_are_refused(
    steps: tuple[int, ...], epsilons: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        EpsilonSchedule(steps, epsilons)
