"""Ranges and replies over sockets and shared memory; no Ray."""

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
from batchgrad_engine.executors.scheduler.protocol import RequestLost, StepRequest
from batchgrad_workers.reduction.sharding import assign
from batchgrad_workers.runtime import ipc
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import ShardRunner
from batchgrad_workers.runtime.shared_memory import allocate
from tests.engine.worker_pools import Serve, WorkerPool, root, scheduler_of, stuck
from tests.workers.jobs import M, bits, theta, whole


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_sums_have_the_same_bits_step_after_step(
    pool: WorkerPool, job: WorkerConfig, workers: int
) -> None:
    for _ in range(workers):
        pool.start(job)
    scheduler = scheduler_of(pool)
    ranges = assign(M, workers)
    for step in (0, 2, 4):  # the others are short
        parts = scheduler.compute("gradient", step, theta(job), ranges)
        expected, [alone] = whole(job, step=step)
        for name in ("losses", "norms"):
            joined = [getattr(p, name) for p in sorted(parts, key=lambda part: part.start)]
            assert np.concatenate(joined).tobytes() == getattr(alone, name).tobytes()
        assert root(parts) == bits(expected)
    assert pool.connections.traffic["out", "shared_memory"] == 3 * theta(job).nbytes
    assert pool.connections.traffic["in", "shared_memory"] > 3 * theta(job).nbytes


def test_evaluation_sums_have_the_same_bits(pool: WorkerPool, job: WorkerConfig) -> None:
    pool.start(job)
    [part] = scheduler_of(pool).compute("evaluation", 0, theta(job), [(0, 3)])
    with closing(ShardRunner(job, 1)) as shard:
        alone = shard.evaluation_sums(theta(job), 0, 3)
    assert [n.sum.tobytes() for n in part.nodes] == [n.sum.tobytes() for n in alone.nodes]


def test_the_range_with_most_sums_goes_to_the_engines_machine(
    pool: WorkerPool, job: WorkerConfig
) -> None:
    first: dict[str, list[int]] = {}

    def noted(where: str) -> Serve:
        def serve(connection: socket.socket, shard: ShardRunner, dtype: str) -> None:
            packet = connection.recv(ipc.PACKET_BYTES, socket.MSG_PEEK)
            request = ipc.ComputeRequest(*json.loads(packet))
            first[where] = [request.start, request.stop]
            ipc.serve(connection, shard, dtype)

        return serve

    pool.start(job, noted("elsewhere"))
    pool.alive[0].connection.transport = "ray"
    pool.start(job, noted("here"))
    expected, _ = whole(job)
    assert M == 12
    assert root(scheduler_of(pool).compute("gradient", 0, theta(job), [(0, 4), (4, 12)])) == bits(
        expected
    )
    assert first == {"elsewhere": [0, 4], "here": [4, 12]}  # one sum, and two


def test_stale_replies_are_dropped(pool: WorkerPool, job: WorkerConfig) -> None:
    pool.start(job)
    connection, expected = pool.alive[0].connection, whole(job, step=2)[0]
    first, second = (StepRequest(step, "gradient", step, theta(job), M) for step in (0, 2))
    connection.send(first, (0, M))
    connection.send(second, (0, M))
    assert connection.receive(second) is None
    assert root([connection.receive(second)]) == bits(expected)


def test_a_lost_request_loses_no_worker(
    pool: WorkerPool, job: WorkerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        pool.start(job)
    scheduler, connection = scheduler_of(pool), pool.alive[0].connection

    def receive(_: StepRequest | None) -> None:
        type(connection).receive(connection, None)
        raise RequestLost("died", "another worker is gone")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "receive", receive)
        with pytest.raises(RequestLost):
            scheduler.compute("gradient", 0, theta(job), [(0, 4), (4, M)])
    expected, _ = whole(job)
    assert root(scheduler.compute("gradient", 0, theta(job), [(0, 4), (4, M)])) == bits(expected)
    assert len(pool.alive) == 2
    assert not pool.lost


def test_an_interrupt_ends_the_wait_for_replies(
    pool: WorkerPool, job: WorkerConfig, released: threading.Event
) -> None:
    pool.start(job, stuck(released))
    with pytest.raises(Interrupted):
        scheduler_of(pool, lambda: True).compute("gradient", 0, theta(job), [(0, M)])


def test_a_workers_error_comes_with_its_traceback(pool: WorkerPool, job: WorkerConfig) -> None:
    pool.start(job)
    with pytest.raises(RuntimeError, match=r"A worker failed: Traceback[\s\S]*shard\.py"):
        scheduler_of(pool).compute("gradient", 0, theta(job), [(99, 100)])


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


def test_too_little_memory_is_an_error_and_not_a_crash(pool: WorkerPool, job: WorkerConfig) -> None:
    pool.start(job)
    scheduler = scheduler_of(pool)
    scheduler.compute("evaluation", 0, theta(job), [(0, 1)])  # allocates the memory of θ
    with files_at_most(4096), pytest.raises(MemoryError, match="bytes of shared memory are not"):
        allocate(1 << 20)
    with files_at_most(512), pytest.raises(MemoryError, match="A worker ran out of memory: "):
        scheduler.compute("gradient", 0, theta(job), [(0, M)])
    expected, _ = whole(job)
    assert root(scheduler.compute("gradient", 0, theta(job), [(0, M)])) == bits(expected)
