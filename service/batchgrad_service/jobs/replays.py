"""Run replays of steps: each in a process of its own, a few at once, within a time limit."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from batchgrad_engine.replay import Replayed, Request
from batchgrad_service.jobs.engine_process import ENVIRONMENT
from batchgrad_service.problems import ConflictError, ProblemError, UnavailableError

REPLAY_COMMAND = (sys.executable, "-m", "batchgrad_engine.replay")
MAX_RUNNING = 2


class Replays:
    """Runs replays, from any thread; `seconds` is what one may take.

    `on_shutdown` subscribes to the service's shutdown, which ends the running replays.
    """

    def __init__(
        self,
        seconds: float,
        on_shutdown: Callable[[Callable[[], None]], AbstractContextManager[None]],
        *,
        command: Sequence[str] = REPLAY_COMMAND,
        max_running: int = MAX_RUNNING,
    ) -> None:
        self.seconds = seconds
        self._on_shutdown = on_shutdown
        self._command = command
        self._max_running = max_running
        self._free = threading.BoundedSemaphore(max_running)

    def run(self, request: Request) -> Replayed:
        """Run a replay and return its result.

        Raises:
            UnavailableError: too many replays are running.
            ConflictError: the replay took too long.
            ProblemError: the replay failed; the service's log says why.
        """
        if not self._free.acquire(blocking=False):
            raise UnavailableError(
                f"{self._max_running} replays are running, as many as may: send it again later.",
                code="replays_busy",
                headers={"Retry-After": "1"},
            )
        try:
            return self._run(request)
        finally:
            self._free.release()

    def _run(self, request: Request) -> Replayed:
        with subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env=os.environ | ENVIRONMENT,
        ) as process:
            expired = threading.Event()

            def expire() -> None:
                expired.set()
                process.kill()

            timer = threading.Timer(self.seconds, expire)
            timer.start()
            try:
                with self._on_shutdown(process.kill):
                    answer = _exchange(process, request)
                    process.wait()
            finally:
                timer.cancel()
                process.kill()  # without effect if it has ended
        if expired.is_set():
            raise ConflictError(
                f"The replay of step {request.step} took longer than {self.seconds:g} s "
                "(replay_timeout_seconds) and was ended: choose a step soon after a checkpoint.",
                code="replay_too_long",
            )
        if process.returncode:
            raise ProblemError(
                f"The replay of step {request.step} failed (exit code {process.returncode}); the "
                "service's log says why.",
                code="replay_failed",
            )
        return Replayed.model_validate_json(answer)


def _exchange(process: subprocess.Popen[bytes], request: Request) -> bytes:
    """Send the request and read the result; closing stdin would end the replay."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("A replay needs pipes for stdin and stdout.")
    line = memoryview(request.model_dump_json().encode() + b"\n")
    try:
        while line:
            line = line[process.stdin.write(line) :]
    except BrokenPipeError:
        return b""
    return process.stdout.read()
