"""Replay processes: limited in number and time, and ended with the service."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchgrad_engine.replay import Request
from batchgrad_service.jobs.replays import Replays
from batchgrad_service.problems import ConflictError, ProblemError, UnavailableError
from batchgrad_service.shutdown import Shutdown
from tests.service.building import spec

SLEEPS = "import sys, time; open(sys.argv[1], 'w').write('on'); time.sleep(600)"
READS = 'import sys; sys.stdin.readline(); print(\'{"bad_checkpoint": "torn"}\')'


def request() -> Request:
    return Request(
        spec=spec(),
        dataset=Path("nowhere"),
        checkpoint=None,
        initial_parameters=None,
        step=4,
        checksum=None,
        order="share",
        limit=5,
    )


@contextmanager
def unending(_wake: Callable[[], None]) -> Iterator[None]:
    yield


def replays(program: str, *arguments: str, seconds: float = 30.0, **more: Any) -> Replays:
    more.setdefault("on_shutdown", unending)
    command = (sys.executable, "-c", program, *arguments)
    return Replays(seconds, more.pop("on_shutdown"), command=command, **more)


def test_answer_is_what_the_process_prints() -> None:
    assert replays(READS).run(request()).bad_checkpoint == "torn"


def test_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match=r"longer than 0\.5 s") as caught:
        replays(SLEEPS, str(tmp_path / "on"), seconds=0.5).run(request())
    assert caught.value.code == "replay_too_long"


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "import os; os.close(0); os._exit(4)"])
def test_process_that_fails_is_an_error(program: str) -> None:
    with pytest.raises(ProblemError, match=r"exit code [34]") as caught:
        replays(program).run(request())
    assert (caught.value.status, caught.value.code) == (500, "replay_failed")


def test_no_more_than_some_at_once_and_the_service_ends_them(tmp_path: Path) -> None:
    shutdown, begun = Shutdown(), tmp_path / "on"
    one = replays(SLEEPS, str(begun), on_shutdown=shutdown.subscribe, max_running=1)
    ended: list[ProblemError] = []

    def send() -> None:
        try:
            one.run(request())
        except ProblemError as problem:
            ended.append(problem)

    thread = threading.Thread(target=send)
    thread.start()
    deadline = time.monotonic() + 20
    while not begun.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(UnavailableError, match="1 replays") as caught:
        one.run(request())
    assert caught.value.headers["Retry-After"] == "1"
    shutdown.begin()
    thread.join(20)
    assert [problem.code for problem in ended] == ["not_ready"]
    assert one._free.acquire(blocking=False)
