"""Schedules against numbers worked out by hand."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from batchgrad.contract import OPTIMIZERS, Optimizer
from batchgrad_engine.training.schedules import learning_rate

PLANNED = 8


def rates(schedule: dict[str, Any], kind: str = "sgd") -> list[float]:
    given = {"kind": kind, "learning_rate": 2.0, "schedule": schedule}
    optimizer: Any = TypeAdapter(Optimizer).validate_python(given)
    return [learning_rate(optimizer, step, PLANNED) for step in range(PLANNED)]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_constant_is_the_rate_itself(kind: str) -> None:
    assert rates({"kind": "constant"}, kind) == [2.0] * 8


def test_warm_up_rises_by_equal_steps_to_the_rate() -> None:
    assert rates({"kind": "constant", "warmup_steps": 4}) == [0.5, 1.0, 1.5, 2.0, 2, 2, 2, 2]


def test_step_decay_multiplies_after_every_so_many_steps() -> None:
    found = rates({"kind": "step", "every": 3, "factor": 0.5})
    assert found == [2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.5, 0.5]


def test_step_decay_counts_from_the_end_of_the_warm_up() -> None:
    found = rates({"kind": "step", "every": 3, "factor": 0.5, "warmup_steps": 2})
    assert found == [1.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]


def test_cosine_is_half_a_cosine() -> None:
    root, tilted = 2**-0.5, [0.9238795325112867, 0.3826834323650898]  # cos of π/8 and of 3π/8
    by_hand = [1.0, tilted[0], root, tilted[1], 0.0, -tilted[1], -root, -tilted[0]]
    expected = [1 + cosine for cosine in by_hand]
    assert rates({"kind": "cosine"}) == pytest.approx(expected, rel=1e-14)


def test_cosine_ends_near_its_final_fraction_after_the_warm_up() -> None:
    found = rates({"kind": "cosine", "warmup_steps": 4, "final_fraction": 0.5})
    half = 2**-0.5 / 2
    expected = [0.5, 1.0, 1.5, 2.0, 2.0, 1.5 + half, 1.5, 1.5 - half]
    assert found == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("kind", ["constant", "cosine", "step"])
@pytest.mark.parametrize("warmup", [7, 8, 9])
def test_warm_up_may_be_all_there_is(kind: str, warmup: int) -> None:
    more = {"every": 1} if kind == "step" else {}
    found = rates({"kind": kind, "warmup_steps": warmup, **more})
    assert found[:7] == pytest.approx([2.0 * (step + 1) / warmup for step in range(7)])
