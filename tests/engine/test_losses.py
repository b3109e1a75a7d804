"""What happens when workers die, fall silent, are late or fail; no Ray."""

import itertools
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from batchgrad_engine.executors.protocol import Interrupted
from batchgrad_engine.failures import NoWorkers, WorkersLost
from batchgrad_workers.reduction.sharding import assign
from batchgrad_workers.runtime import ipc
from batchgrad_workers.runtime.shard import ShardRunner, WorkerConfig
from tests.engine.lines import Serve, WorkerPool, dies, dispatch, root, stuck, until
from tests.workers.jobs import M, bits, theta, whole


def test_what_the_dead_had_the_living_compute_in_the_same_step(
    team: WorkerPool, job: WorkerConfig
) -> None:
    team.hire(job)
    team.hire(job, dies)
    given = dispatch(team)
    for step in (0, 2):
        expected, _ = whole(job, step=step)
        parts = given.compute("gradient", step, theta(job), assign(M, 2))
        assert len(parts) == 2  # one worker has answered twice, the first answer is still whole
        assert root(parts) == bits(expected)
    assert [(number, reason) for number, reason, _ in team.lost] == [(2, "died")]
    [retry] = team.told
    assert (retry.event, retry.data["reason"], retry.data["pieces"]) == ("retry", "died", 1)


def test_who_died_between_two_steps_is_found_when_asked(
    team: WorkerPool, job: WorkerConfig
) -> None:
    for _ in range(2):
        team.hire(job)
    given = dispatch(team)
    given.compute("gradient", 0, theta(job), assign(M, 2))
    with socket.socket(fileno=team.alive[0].line.fileno()) as own:
        own.shutdown(socket.SHUT_RDWR)  # as the kernel does it for a process that is gone
        own.detach()
    expected, _ = whole(job, step=2)
    assert root(given.compute("gradient", 2, theta(job), assign(M, 2))) == bits(expected)
    assert [number for number, _, _ in team.lost] == [1]


def test_who_is_late_is_not_waited_for(
    team: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    def held_up(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
        assert released.wait(30)
        ipc.serve(connection, shard, dtype)

    team.hire(job)
    team.hire(job, held_up)
    given = dispatch(team)
    for step, ranges in ((0, assign(M, 2)), (2, assign(M, 1))):
        expected, _ = whole(job, step=step)
        assert root(given.compute("gradient", step, theta(job), ranges)) == bits(expected)
        assert [worker.number for worker in given.free()] == [1]  # until it has answered
    [retry] = team.told
    assert (retry.event, retry.data["reason"]) == ("retry", "slow")
    assert retry.data["microbatches"] == M - assign(M, 2)[0][1]
    released.set()
    until(lambda: len(given.free()) == 2)
    expected, _ = whole(job, step=4)
    assert root(given.compute("gradient", 4, theta(job), assign(M, 2))) == bits(expected)
    assert not team.lost


def test_who_falls_silent_is_struck_off_while_others_work(
    team: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    team.hire(job)
    team.hire(job, stuck(released))
    team.silent_ones = {2}
    given = dispatch(team)
    expected, _ = whole(job)
    assert root(given.compute("gradient", 0, theta(job), assign(M, 2))) == bits(expected)
    until(lambda: given.free() and team.lost)
    assert team.lost == [(2, "silent", "no sign of life for 1 s")]
    assert [each.data["reason"] for each in team.told] == ["slow"]  # nothing is missing


def test_what_the_silent_had_a_newcomer_computes(
    team: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    team.hire(job, stuck(released))
    team.silent_ones = {1}
    team.comes_instead = job
    given = dispatch(team)
    expected, _ = whole(job)
    assert root(given.compute("gradient", 0, theta(job), [(0, M)])) == bits(expected)
    assert [each.data["reason"] for each in team.told] == ["silent"]


def hangs(from_call: int, released: threading.Event) -> Serve:
    """From that call on its work never ends; it is let go in the end."""

    def serve(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
        def wait(call: int) -> None:
            assert call < from_call or released.wait(30)

        ipc.serve(connection, Before(shard, wait), dtype)

    return serve


class Before(ShardRunner):
    """Does something before it computes a gradient for the n-th time."""

    def __init__(self, shard: ShardRunner, do: Callable[[int], None]) -> None:
        self.__dict__ = shard.__dict__
        self._do = do
        self._calls = 0

    def gradient_sums(self, *arguments: Any) -> Any:
        self._calls += 1
        self._do(self._calls)
        return super().gradient_sums(*arguments)


def test_who_answers_pings_but_never_its_work_is_given_up(
    team: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    team.hire(job, hangs(2, released))
    team.comes_instead = job
    given = dispatch(team, silence_seconds=0.1)
    for step in (0, 2):
        expected, _ = whole(job, step=step)
        assert root(given.compute("gradient", step, theta(job), [(0, M)])) == bits(expected)
    number, reason, detail = team.lost[0]
    assert (number, reason) == (1, "silent")
    assert detail.startswith("it answers pings, but ")


def test_what_ends_whoever_computes_it_ends_the_job(team: WorkerPool, job: WorkerConfig) -> None:
    for _ in range(2):
        team.hire(job, dies)
    team.comes_instead, team.who = job, dies
    with pytest.raises(WorkersLost, match=r"Step 3: 5 workers were lost.*died: its connection"):
        dispatch(team).compute("gradient", 2, theta(job), assign(M, 2))
    assert 5 <= len(team.lost) <= 9


def test_few_find_out_what_ends_whoever_computes_it(job: WorkerConfig) -> None:
    """Five in a row in one of two seats, and four in the other, whoever dies when."""
    pauses = itertools.cycle((0, 0, 0.002, 0.02, 0, 0.02, 0.002))

    def dies_later(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
        time.sleep(next(pauses))
        dies(connection, shard, dtype)

    for _ in range(40):
        with closing(WorkerPool(comes_instead=job, who=dies_later)) as team:
            for _ in range(2):
                team.hire(job, dies_later)
            with pytest.raises(WorkersLost):
                dispatch(team).compute("gradient", 2, theta(job), assign(M, 2))
            assert 5 <= len(team.lost) <= 9


def test_losses_are_told_while_the_step_still_waits(
    team: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    team.hire(job, dies)
    team.hire(job, stuck(released))
    with pytest.raises(Interrupted):
        dispatch(team, lambda: bool(team.told)).compute("gradient", 0, theta(job), assign(M, 2))
    assert [each.data["reason"] for each in team.told] == ["died"]


@pytest.mark.parametrize("workers", [2, 3])
def test_who_fails_at_what_another_computes_as_well_fails_alone(
    team: WorkerPool, job: WorkerConfig, released: threading.Event, workers: int
) -> None:
    """With two the other still computes it; with three it has answered, and does the third's."""
    seen = threading.Event()

    def fail(_: int) -> None:
        assert seen.wait(30)
        raise MemoryError("none is left.")

    def help_out(call: int) -> None:
        if call == workers:
            seen.set()
            until(lambda: team.lost)

    team.hire(job, lambda at, shard, dtype: ipc.serve(at, Before(shard, fail), dtype))
    team.hire(job, lambda at, shard, dtype: ipc.serve(at, Before(shard, help_out), dtype))
    if workers == 3:
        team.hire(job, stuck(released))
    expected, _ = whole(job)
    given = dispatch(team)
    assert root(given.compute("gradient", 0, theta(job), assign(M, workers))) == bits(expected)
    detail = "it failed at what another one computes as well: MemoryError"
    assert team.lost == [(1, "died", detail)]


def test_who_was_dismissed_owes_nothing(
    team: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    team.hire(job)
    team.hire(job, stuck(released))
    given = dispatch(team)
    given.compute("gradient", 0, theta(job), assign(M, 2))
    team.alive.pop().line.close()
    given.compute("gradient", 2, theta(job), [(0, M)])
    team.hire(job)
    team.alive[-1].number = 2
    assert len(given.free()) == 2


def test_nobody_left(team: WorkerPool, job: WorkerConfig) -> None:
    team.hire(job, dies)
    with pytest.raises(NoWorkers):
        dispatch(team).compute("gradient", 0, theta(job), [(0, M)])
