"""The typical pace, and when a range is overdue; the tests set the times."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest

from batchgrad_engine.executors.scheduler.protocol import WorkerConnection
from batchgrad_engine.executors.scheduler.stragglers import InFlightTask, InFlightTracker


@dataclass
class Worker:
    number: int
    transport: str = "ray"
    last_contact_at: float = 0.0

    @property
    def connection(self) -> WorkerConnection:
        return cast("WorkerConnection", SimpleNamespace(transport=self.transport))


def task(at: float, microbatches: int = 2, timeout_factor: float = 1.0) -> InFlightTask:
    return InFlightTask("gradient", (4, 4 + microbatches), at, timeout_factor)


def seconds_until_overdue(in_flight: InFlightTracker, worker: Worker, pool: list[Worker]) -> int:
    """Whole seconds after time 1000."""
    waited = next(n for n in range(1, 9999) if in_flight.overdue(pool, 1000.0 + n))
    assert in_flight.overdue(pool, 1000.0 + waited) == [(worker, waited)]
    return waited - 1


@pytest.mark.parametrize(
    ("typical_pace", "timeout_factor", "expected"),
    [(None, 1, 3600), (1.0, 1, 60), (30.0, 1, 600), (30.0, 4, 2400)],
)
def test_a_range_is_overdue_after_ten_typical_times_and_six_heartbeat_timeouts(
    typical_pace: float | None, timeout_factor: float, expected: int
) -> None:
    first, second, near = pool = [Worker(1), Worker(2), Worker(3, "shared_memory")]
    in_flight = InFlightTracker(heartbeat_timeout_seconds=10.0)
    for worker, seconds in ((first, typical_pace), (near, 0.5)):  # another transport does not count
        if seconds:
            in_flight.add(worker, task(0.0, microbatches=1))
            in_flight.complete(worker, seconds)
    in_flight.add(second, task(1000.0, timeout_factor=timeout_factor))
    assert seconds_until_overdue(in_flight, second, pool) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(5.9, []), (6.1, [(4, 6)])])
def test_a_range_is_a_straggler_after_three_typical_times_of_each_microbatch(
    seconds: float, expected: list[tuple[int, int]]
) -> None:
    slow, usual = pool = [Worker(1), Worker(2)]
    in_flight = InFlightTracker(heartbeat_timeout_seconds=10.0)
    in_flight.add(usual, task(0.0, microbatches=2))
    in_flight.complete(usual, 2.0)
    assert in_flight.stragglers("gradient", [((4, 6), slow, seconds)], pool) == expected


def test_the_next_range_begins_when_the_one_before_completes() -> None:
    worker = Worker(1)
    in_flight = InFlightTracker(heartbeat_timeout_seconds=10.0)
    for _ in range(2):
        in_flight.add(worker, task(0.0))
    in_flight.complete(worker, 2.0)
    assert in_flight.is_busy(worker)
    in_flight.complete(worker, 4.0)
    assert not in_flight.is_busy(worker)
    assert in_flight.typical_pace("gradient", [worker]) == {"ray": 1.0}


def test_workers_that_are_gone_are_forgotten() -> None:
    worker, other = Worker(1), Worker(2)
    in_flight = InFlightTracker(heartbeat_timeout_seconds=10.0)
    for each in (worker, other):
        in_flight.add(each, task(0.0))
        in_flight.complete(each, each.number)
        in_flight.add(each, task(9.0))
    in_flight.keep_only([other])
    assert not in_flight.is_busy(worker)
    assert in_flight.is_busy(other)
    assert in_flight.typical_pace("gradient", [worker]) == {}
    assert in_flight.typical_pace("gradient", [other]) == {"ray": 1.0}
