"""Processes that answer questions: limited in number, memory, time; ended with the service."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchgrad_service.problems import InvalidError, UnavailableError
from batchgrad_service.questions.forker import ForkedProcess, Forker
from batchgrad_service.questions.kinds import ANSWERS
from batchgrad_service.questions.pool import QuestionPool
from batchgrad_workers.system.processes import is_alive, session_members

SMALL: dict[str, Any] = {
    "model": {"layers": [{"kind": "linear", "out_features": 1}, {"kind": "sigmoid"}]},
    "loss": "linear_error",
    "inputs": [[0], [1]],
    "targets": [0, 0],
}
NO_FORK = """
import errno, os
from batchgrad_service.questions import process
def fork():
    raise BlockingIOError(errno.EAGAIN, "no process left")
os.fork = fork
process._warm_up = lambda: None
process.main()
"""
LONG = 60.0
"""More CPU seconds than any question here needs."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuestionPool]:
    made = QuestionPool(tmp_path_factory.mktemp("pool"), memory_bytes=64 * 2**20, cpu_seconds=LONG)
    yield made
    made.stop()


def answer(pool: QuestionPool, **changes: Any) -> bytes:
    async def answer() -> bytes:
        with await pool.ask("gradients", json.dumps({**SMALL, **changes}).encode()) as file:
            return file.read()

    return asyncio.run(answer())


def processes(pool: QuestionPool) -> set[int]:
    """Pids of the answering processes."""
    forker = pool._forker._process
    assert forker is not None
    return set(session_members(forker.pid)) - {forker.pid}


def kill(doomed: set[int]) -> None:
    assert doomed
    for process in doomed:
        os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(is_alive(process) for process in doomed):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_answer_is_the_same_and_comes_from_a_process_that_stays(pool: QuestionPool) -> None:
    right = ANSWERS["gradients"](json.dumps(SMALL).encode())
    assert answer(pool) == right
    before = processes(pool)
    assert len(before) == 1
    assert answer(pool) == right
    assert processes(pool) == before


def test_a_wrong_question_raises_the_same_error_as_in_the_service(pool: QuestionPool) -> None:
    with pytest.raises(InvalidError) as caught:
        answer(pool, inputs=[[0], ["x"]])
    assert [error.pointer for error in caught.value.errors] == ["/inputs/1/0"]


def test_memory_is_bounded(pool: QuestionPool) -> None:
    layers = [{"kind": "linear", "out_features": 100_000}, {"kind": "linear", "out_features": 1}]
    model = {"layers": [*layers[:1], *[{"kind": "gelu"}] * 60, layers[1]]}
    with pytest.raises(InvalidError, match="64 MiB of memory") as caught:
        answer(pool, model=model)
    assert caught.value.code == "request_memory_exceeded"
    answer(pool)


def test_time_is_bounded(tmp_path: Path, pool: QuestionPool) -> None:
    answer(pool)
    hurried = QuestionPool(tmp_path, memory_bytes=2**30, cpu_seconds=0.05)
    hurried._forker = pool._forker  # one start is enough
    conv = {"kind": "conv2d", "out_channels": 1, "kernel_size": 60, "padding": 59}
    model = {"layers": [conv, {"kind": "flatten"}, {"kind": "linear", "out_features": 1}]}
    with pytest.raises(InvalidError, match=r"0\.05 s of CPU time") as caught:
        answer(hurried, model=model, inputs=[[[[1.0]]]], targets=[0])
    assert caught.value.code == "request_cpu_time_exceeded"
    answer(pool)


def test_a_killed_process_is_replaced(pool: QuestionPool) -> None:
    answer(pool)
    kill(processes(pool))
    answer(pool)
    forker = pool._forker._process
    assert forker is not None
    forker.kill()
    forker.wait()
    answer(pool)  # by the process that still runs
    kill(set(session_members(forker.pid)))
    answer(pool)


def test_a_process_that_the_kernel_kills_is_not_the_requests_fault(
    pool: QuestionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(pool)
    acquire = pool._acquire

    def acquire_and_kill(**_new: bool) -> Any:
        process = acquire()
        kill(processes(pool))
        return process

    monkeypatch.setattr(pool, "_acquire", acquire_and_kill)
    with pytest.raises(UnavailableError, match="was killed or could not be started") as caught:
        answer(pool)
    assert (caught.value.code, caught.value.headers["Retry-After"]) == ("machine_exhausted", "2")
    monkeypatch.undo()
    answer(pool)


def test_a_process_that_cannot_be_forked_is_not_the_requests_fault(tmp_path: Path) -> None:
    pool = QuestionPool(tmp_path, memory_bytes=2**26, cpu_seconds=LONG)
    pool._forker = Forker([sys.executable, "-c", NO_FORK])
    try:
        for _ in range(2):  # the process that forks stays
            expected = pytest.raises(UnavailableError, match="was killed or could not be started")
            with expected as caught:
                answer(pool)
            assert caught.value.code == "machine_exhausted"
        assert pool._forker._process is not None
        assert pool._forker._process.poll() is None
    finally:
        pool.stop()


def test_a_sigterm_to_the_whole_tree_ends_no_question(pool: QuestionPool) -> None:
    answer(pool)
    before = processes(pool)
    forker = pool._forker._process
    assert forker is not None
    for process in (forker.pid, *before):
        os.kill(process, signal.SIGTERM)
    answer(pool)
    assert processes(pool) == before
    assert forker.poll() is None


def test_the_number_of_waiting_questions_is_limited(tmp_path: Path) -> None:
    pool = QuestionPool(tmp_path, memory_bytes=2**26, cpu_seconds=LONG, processes=1, max_waiting=1)
    holding, go_on = threading.Event(), threading.Event()

    def hold(*_: Any) -> Any:
        holding.set()
        go_on.wait()
        raise UnavailableError("held")

    pool._ask = hold  # type: ignore[method-assign, assignment]

    async def ask_thrice() -> list[Any]:
        body = json.dumps(SMALL).encode()
        two = [asyncio.create_task(pool.ask("gradients", body)) for _ in range(2)]
        await asyncio.to_thread(holding.wait)
        try:
            with pytest.raises(UnavailableError, match="send it again later") as caught:
                await asyncio.wait_for(pool.ask("gradients", body), 20)
            assert caught.value.headers["Retry-After"] == "2"
        finally:
            go_on.set()
        return await asyncio.gather(*two, return_exceptions=True)

    assert [str(each) for each in asyncio.run(ask_thrice())] == ["held", "held"]


def test_a_stop_ends_all_processes(tmp_path: Path) -> None:
    pool = QuestionPool(tmp_path, memory_bytes=2**26, cpu_seconds=LONG)
    pool.start()
    forker = pool._forker._process
    assert forker is not None
    answer(pool)
    assert pool._forker._process is forker
    pool.stop()
    assert session_members(forker.pid) == []
    with pytest.raises(UnavailableError, match="stopping"):
        answer(pool)


@pytest.mark.parametrize("ended", [False, True])
def test_a_process_that_has_ended_cannot_be_ended_in_place_of_another(*, ended: bool) -> None:
    """It told its id, answered and ended before that was read; the id may be another's by now."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    if ended:
        os.write(writing, b"0")
    process = ForkedProcess(ours, reading)
    try:
        process.identify(other.pid)
        process.end()
        assert (process.handle is None) == ended
        if ended:
            assert other.poll() is None
        else:
            assert other.wait(60) == -signal.SIGKILL
    finally:
        process.close()
        theirs.close()
        os.close(writing)
        other.kill()
        other.wait()


def test_a_process_that_is_gone_has_no_handle() -> None:
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    process = ForkedProcess(ours, reading)
    process.identify(gone.pid)
    assert process.handle is None
    process.close()
    theirs.close()
    os.close(writing)
