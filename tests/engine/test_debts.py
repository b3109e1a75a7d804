"""How long work takes usually, and after how long it is given up; times are given by hand."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from batchgrad_engine.executors.scheduler.stragglers import InFlightTask, InFlightTracker


@dataclass
class Worker:
    number: int
    transport: str = "ray"
    line: Any = field(init=False)

    def __post_init__(self) -> None:
        self.line = SimpleNamespace(transport=self.transport)


def asked(at: float, microbatches: int = 2, patience: float = 1.0) -> InFlightTask:
    return InFlightTask("gradient", (4, 4 + microbatches), at, patience)


def seconds_until_overdue(debts: InFlightTracker, worker: Worker, team: list[Worker]) -> int:
    """From 1000 on, by whole seconds."""
    waited = next(n for n in range(1, 9999) if debts.overdue(team, 1000.0 + n))
    assert debts.overdue(team, 1000.0 + waited) == [(worker, waited)]
    return waited - 1


@pytest.mark.parametrize(
    ("usual", "patience", "expected"),
    [(None, 1, 3600), (1.0, 1, 60), (30.0, 1, 600), (30.0, 4, 2400)],
)
def test_ten_times_the_usual_is_given_but_at_least_six_silences(
    usual: float | None, patience: float, expected: int
) -> None:
    first, second, near = team = [Worker(1), Worker(2), Worker(3, "shared_memory")]
    debts = InFlightTracker(silence_seconds=10.0)
    for worker, seconds in ((first, usual), (near, 0.5)):  # another's way tells nothing
        if seconds:
            debts.add(worker, asked(0.0, microbatches=1))
            debts.settle(worker, seconds)
    debts.add(second, asked(1000.0, patience=patience))
    assert seconds_until_overdue(debts, second, team) == expected


def test_what_was_asked_for_next_begins_with_the_answer_before() -> None:
    worker = Worker(1)
    debts = InFlightTracker(silence_seconds=10.0)
    for _ in range(2):
        debts.add(worker, asked(0.0))
    debts.settle(worker, 2.0)
    assert debts.owes(worker)
    debts.settle(worker, 4.0)
    assert not debts.owes(worker)
    assert debts.usual("gradient", [worker]) == {"ray": 1.0}


def test_who_is_gone_is_forgotten() -> None:
    worker, other = Worker(1), Worker(2)
    debts = InFlightTracker(silence_seconds=10.0)
    for each in (worker, other):
        debts.add(each, asked(0.0))
        debts.settle(each, each.number)
        debts.add(each, asked(9.0))
    debts.keep([other])
    assert not debts.owes(worker)
    assert debts.owes(other)
    assert debts.usual("gradient", [worker]) == {}
    assert debts.usual("gradient", [other]) == {"ray": 1.0}
