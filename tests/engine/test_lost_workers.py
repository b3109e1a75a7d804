"""Workers that die, hang, are unresponsive, slow or fail: the step completes; no Ray."""

import itertools
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from batchgrad_engine.executors.protocol import Interrupted
from batchgrad_engine.executors.scheduler import scheduler as scheduler_module
from batchgrad_engine.failures import NoWorkers, WorkersLost
from batchgrad_workers.reduction.sharding import assign
from batchgrad_workers.runtime import ipc
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import ShardRunner
from tests.engine.worker_pools import (
    ThreadWorker,
    WorkerPool,
    dies,
    root,
    scheduler_of,
    stuck,
    until,
)
from tests.workers.jobs import M, bits, theta, whole


def test_a_lost_workers_range_is_computed_within_the_same_step(
    pool: WorkerPool, job: WorkerConfig
) -> None:
    pool.start(job)
    pool.start(job, dies)
    scheduler = scheduler_of(pool)
    for step in (0, 2):
        expected, _ = whole(job, step=step)
        parts = scheduler.compute("gradient", step, theta(job), assign(M, 2))
        assert len(parts) == 2  # one worker replied twice; its first reply is intact
        assert root(parts) == bits(expected)
    assert [(number, reason) for number, reason, _ in pool.lost] == [(2, "died")]
    [retry] = pool.events
    assert (retry.event, retry.data["reason"], retry.data["pieces"]) == ("retry", "died", 1)


def cut_off(worker: ThreadWorker) -> None:
    """Shut down its connection, as the kernel does for a process that ends."""
    with socket.socket(fileno=worker.connection.fileno()) as own:
        own.shutdown(socket.SHUT_RDWR)
        own.detach()


def test_a_worker_that_died_between_two_steps_is_noticed_at_the_next_request(
    pool: WorkerPool, job: WorkerConfig
) -> None:
    for _ in range(2):
        pool.start(job)
    scheduler = scheduler_of(pool)
    scheduler.compute("gradient", 0, theta(job), assign(M, 2))
    cut_off(pool.alive[0])
    expected, _ = whole(job, step=2)
    assert root(scheduler.compute("gradient", 2, theta(job), assign(M, 2))) == bits(expected)
    assert [number for number, _, _ in pool.lost] == [1]


def test_a_stragglers_range_is_computed_by_an_idle_worker(
    pool: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    def held_up(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
        assert released.wait(30)
        ipc.serve(connection, shard, dtype)

    pool.start(job)
    pool.start(job, held_up)
    scheduler = scheduler_of(pool)
    for step, ranges in ((0, assign(M, 2)), (2, assign(M, 1))):
        expected, _ = whole(job, step=step)
        assert root(scheduler.compute("gradient", step, theta(job), ranges)) == bits(expected)
        assert [worker.number for worker in scheduler.idle_workers()] == [1]  # until it has replied
    [retry] = pool.events
    assert (retry.event, retry.data["reason"]) == ("retry", "slow")
    assert retry.data["microbatches"] == M - assign(M, 2)[0][1]
    released.set()
    until(lambda: len(scheduler.idle_workers()) == 2)
    expected, _ = whole(job, step=4)
    assert root(scheduler.compute("gradient", 4, theta(job), assign(M, 2))) == bits(expected)
    assert not pool.lost


def test_an_unresponsive_worker_is_removed_while_others_work(
    pool: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    pool.start(job)
    pool.start(job, stuck(released))
    scheduler = scheduler_of(pool)
    expected, _ = whole(job)
    assert root(scheduler.compute("gradient", 0, theta(job), assign(M, 2))) == bits(expected)
    pool.unresponsive_numbers = {2}  # its range is complete
    until(lambda: scheduler.idle_workers() and pool.lost)
    assert pool.lost == [(2, "silent", "it answered no ping for 1 s")]
    assert [each.data["reason"] for each in pool.events] == ["slow"]


def test_a_replacement_computes_an_unresponsive_workers_range(
    pool: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    pool.start(job, stuck(released))
    pool.unresponsive_numbers = {1}
    pool.replacement_job = job
    scheduler = scheduler_of(pool)
    expected, _ = whole(job)
    assert root(scheduler.compute("gradient", 0, theta(job), [(0, M)])) == bits(expected)
    assert [each.data["reason"] for each in pool.events] == ["silent"]


class Before(ShardRunner):
    """Calls `do(n)` before it computes a gradient for the n-th time."""

    def __init__(self, shard: ShardRunner, do: Callable[[int], None]) -> None:
        self.__dict__ = shard.__dict__
        self._do = do
        self._calls = 0

    def gradient_sums(self, *arguments: Any) -> Any:
        self._calls += 1
        self._do(self._calls)
        return super().gradient_sums(*arguments)


def test_a_worker_that_hangs_but_answers_pings_is_removed(
    pool: WorkerPool, job: WorkerConfig, released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is 600 s, on a clock that is set forward."""
    forward = 0

    def hang(request: int) -> None:
        nonlocal forward
        if request == 2:
            forward = 601
            assert released.wait(30)

    monkeypatch.setattr(scheduler_module, "monotonic", lambda: time.monotonic() + forward)
    pool.start(job, lambda at, shard, dtype: ipc.serve(at, Before(shard, hang), dtype))
    pool.replacement_job = job
    scheduler = scheduler_of(pool, heartbeat_timeout_seconds=100.0)
    for step in (0, 2):
        expected, _ = whole(job, step=step)
        assert root(scheduler.compute("gradient", step, theta(job), [(0, M)])) == bits(expected)
    number, reason, detail = pool.lost[0]
    assert (number, reason) == (1, "stuck")
    assert detail.startswith("it answers pings, but ")
    assert [each.data["reason"] for each in pool.events] == ["stuck"]


def test_a_range_whose_worker_was_lost_has_twice_the_time(
    pool: WorkerPool, job: WorkerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is 600 s; the second worker takes 900 s for it, on a clock that is set forward."""
    forward = checks = 0

    def unresponsive(_: Any) -> list[Any]:
        nonlocal checks
        checks += 1
        return []

    def take_900_seconds(request: int) -> None:
        nonlocal forward
        if request == 3:
            forward, seen = 900, checks
            until(lambda: checks > seen + 1 or len(pool.lost) > 1)

    monkeypatch.setattr(scheduler_module, "monotonic", lambda: time.monotonic() + forward)
    monkeypatch.setattr(pool, "unresponsive", unresponsive)
    pool.start(job)
    pool.start(job, lambda at, shard, dtype: ipc.serve(at, Before(shard, take_900_seconds), dtype))
    scheduler = scheduler_of(pool, heartbeat_timeout_seconds=100.0)
    scheduler.compute("gradient", 0, theta(job), assign(M, 2))
    cut_off(pool.alive[0])
    expected, _ = whole(job, step=2)
    assert root(scheduler.compute("gradient", 2, theta(job), assign(M, 2))) == bits(expected)
    assert [number for number, _, _ in pool.lost] == [1]
    assert forward == 900


def test_microbatches_that_end_every_worker_end_the_job(
    pool: WorkerPool, job: WorkerConfig
) -> None:
    for _ in range(2):
        pool.start(job, dies)
    pool.replacement_job, pool.replacement = job, dies
    with pytest.raises(WorkersLost, match=r"Step 3: 5 workers were lost.*died: its connection"):
        scheduler_of(pool).compute("gradient", 2, theta(job), assign(M, 2))
    assert 5 <= len(pool.lost) <= 9


def test_a_poison_range_ends_few_workers(job: WorkerConfig) -> None:
    """Five in a row in one of two slots and four in the other, in any order of deaths."""
    pauses = itertools.cycle((0, 0, 0.002, 0.02, 0, 0.02, 0.002))

    def dies_later(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
        time.sleep(next(pauses))
        dies(connection, shard, dtype)

    for _ in range(40):
        with closing(WorkerPool(replacement_job=job, replacement=dies_later)) as pool:
            for _ in range(2):
                pool.start(job, dies_later)
            with pytest.raises(WorkersLost):
                scheduler_of(pool).compute("gradient", 2, theta(job), assign(M, 2))
            assert 5 <= len(pool.lost) <= 9


def test_a_loss_makes_an_event_while_the_step_still_waits(
    pool: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    pool.start(job, dies)
    pool.start(job, stuck(released))
    with pytest.raises(Interrupted):
        scheduler_of(pool, lambda: bool(pool.events)).compute(
            "gradient", 0, theta(job), assign(M, 2)
        )
    assert [each.data["reason"] for each in pool.events] == ["died"]


@pytest.mark.parametrize("workers", [2, 3])
def test_an_error_in_a_speculative_copy_removes_only_its_worker(
    pool: WorkerPool, job: WorkerConfig, released: threading.Event, workers: int
) -> None:
    """With two workers the other still computes the range; with three it has replied already."""
    seen = threading.Event()

    def fail(_: int) -> None:
        assert seen.wait(30)
        raise MemoryError("no memory is left.")

    def help_out(request: int) -> None:
        if request == workers:
            seen.set()
            until(lambda: pool.lost)

    pool.start(job, lambda at, shard, dtype: ipc.serve(at, Before(shard, fail), dtype))
    pool.start(job, lambda at, shard, dtype: ipc.serve(at, Before(shard, help_out), dtype))
    if workers == 3:
        pool.start(job, stuck(released))
    expected, _ = whole(job)
    scheduler = scheduler_of(pool)
    assert root(scheduler.compute("gradient", 0, theta(job), assign(M, workers))) == bits(expected)
    detail = "it failed at a range that another worker computes: MemoryError"
    assert pool.lost == [(1, "died", detail)]


def test_a_stopped_worker_has_nothing_in_flight(
    pool: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    pool.start(job)
    pool.start(job, stuck(released))
    scheduler = scheduler_of(pool)
    scheduler.compute("gradient", 0, theta(job), assign(M, 2))
    pool.alive.pop().connection.close()
    scheduler.compute("gradient", 2, theta(job), [(0, M)])
    pool.start(job)
    pool.alive[-1].number = 2
    assert len(scheduler.idle_workers()) == 2


def test_no_worker_left_is_an_error(pool: WorkerPool, job: WorkerConfig) -> None:
    pool.start(job, dies)
    with pytest.raises(NoWorkers):
        scheduler_of(pool).compute("gradient", 0, theta(job), [(0, M)])
