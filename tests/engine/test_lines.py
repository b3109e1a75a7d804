"""Ranges through sockets and shared memory, and what an answer may be; no Ray."""

import json
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest

from batchgrad_engine.executors.protocol import Interrupted
from batchgrad_engine.executors.scheduler.protocol import StepRequest
from batchgrad_workers.reduction.sharding import assign
from batchgrad_workers.runtime import ipc
from batchgrad_workers.runtime.shard import ShardRunner, WorkerConfig
from batchgrad_workers.runtime.shared_memory import allocate
from tests.engine.lines import Serve, WorkerPool, dispatch, root, stuck
from tests.workers.jobs import M, bits, theta, whole


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_sums_have_the_same_bits_step_after_step(
    team: WorkerPool, job: WorkerConfig, workers: int
) -> None:
    for _ in range(workers):
        team.hire(job)
    given = dispatch(team)
    ranges = assign(M, workers)
    for step in (0, 2, 4):  # the others are short
        parts = given.compute("gradient", step, theta(job), ranges)
        expected, [alone] = whole(job, step=step)
        for name in ("losses", "norms"):
            joined = [getattr(p, name) for p in sorted(parts, key=lambda part: part.start)]
            assert np.concatenate(joined).tobytes() == getattr(alone, name).tobytes()
        assert root(parts) == bits(expected)
    assert team.lines.traffic["out", "shared_memory"] == 3 * theta(job).nbytes
    assert team.lines.traffic["in", "shared_memory"] > 3 * theta(job).nbytes


def test_evaluation_goes_the_same_way(team: WorkerPool, job: WorkerConfig) -> None:
    team.hire(job)
    [part] = dispatch(team).compute("evaluation", 0, theta(job), [(0, 3)])
    with closing(ShardRunner(job, 1)) as shard:
        alone = shard.evaluation_sums(theta(job), 0, 3)
    assert [n.sum.tobytes() for n in part.nodes] == [n.sum.tobytes() for n in alone.nodes]


def test_what_has_most_sums_is_computed_on_the_engines_machine(
    team: WorkerPool, job: WorkerConfig
) -> None:
    first: dict[str, list[int]] = {}

    def noted(where: str) -> Serve:
        def serve(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
            packet = connection.recv(ipc.PACKET_BYTES, socket.MSG_PEEK)
            first[where] = list(ipc.Command(*json.loads(packet))[-2:])
            ipc.serve(connection, shard, dtype)

        return serve

    team.hire(job, noted("elsewhere"))
    team.alive[0].line.transport = "ray"
    team.hire(job, noted("here"))
    expected, _ = whole(job)
    assert M == 12
    assert root(dispatch(team).compute("gradient", 0, theta(job), [(0, 4), (4, 12)])) == bits(
        expected
    )
    assert first == {"elsewhere": [0, 4], "here": [4, 12]}  # one sum, and two


def test_late_answers_to_an_earlier_call_are_dropped(team: WorkerPool, job: WorkerConfig) -> None:
    team.hire(job)
    line, expected = team.alive[0].line, whole(job, step=2)[0]
    first, second = (StepRequest(step, "gradient", step, theta(job)) for step in (0, 2))
    line.ask(first, (0, M))
    line.ask(second, (0, M))
    assert line.answer(second) is None
    assert root([line.answer(second)]) == bits(expected)


def test_an_engine_that_has_to_go_waits_for_nobody(
    team: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    team.hire(job, stuck(released))
    with pytest.raises(Interrupted):
        dispatch(team, lambda: True).compute("gradient", 0, theta(job), [(0, M)])


def test_trouble_at_work_is_told_with_its_traceback(team: WorkerPool, job: WorkerConfig) -> None:
    team.hire(job)
    with pytest.raises(RuntimeError, match=r"A worker failed: Traceback[\s\S]*shard\.py"):
        dispatch(team).compute("gradient", 0, theta(job), [(99, 100)])


@contextmanager
def files_at_most(size_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_too_little_memory_is_an_error_and_not_a_crash(team: WorkerPool, job: WorkerConfig) -> None:
    team.hire(job)
    given = dispatch(team)
    given.compute("evaluation", 0, theta(job), [(0, 1)])  # θ has its place
    with files_at_most(4096), pytest.raises(MemoryError, match="bytes of shared memory can't be"):
        allocate(1 << 20)
    with files_at_most(512), pytest.raises(MemoryError, match="A worker ran out of memory: "):
        given.compute("gradient", 0, theta(job), [(0, M)])
    expected, _ = whole(job)
    assert root(given.compute("gradient", 0, theta(job), [(0, M)])) == bits(expected)
