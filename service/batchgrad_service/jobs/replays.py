"""Replays of steps: each a process of its own, few at once, none for long."""

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
AT_ONCE = 2


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
        at_once: int = AT_ONCE,
    ) -> None:
        self.seconds = seconds
        self._on_shutdown = on_shutdown
        self._command = command
        self._at_once = at_once
        self._free = threading.BoundedSemaphore(at_once)

    def run(self, request: Request) -> Replayed:
        """What the replay found.

        Raises:
            UnavailableError: as many as may run at once are running.
            ConflictError: it took too long.
            ProblemError: it failed; the service's log says why.
        """
        if not self._free.acquire(blocking=False):
            raise UnavailableError(
                f"{self._at_once} replays are under way, as many as run at once: ask again.",
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
                    answer = _converse(process, request)
                    process.wait()
            finally:
                timer.cancel()
                process.kill()  # nothing happens to one that has ended
        if expired.is_set():
            raise ConflictError(
                f"The replay of step {request.step} took longer than {self.seconds:g} s "
                "(replay_timeout_seconds), and was ended: ask for a step soon after a checkpoint.",
                code="replay_too_long",
            )
        if process.returncode:
            raise ProblemError(
                f"The replay of step {request.step} failed (exit code {process.returncode}); the "
                "service's log says why.",
                code="replay_failed",
            )
        return Replayed.model_validate_json(answer)


def _converse(process: subprocess.Popen[bytes], request: Request) -> bytes:
    """Send the request and read to the end; stdin stays open, its end would mean to leave."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("A replay needs pipes for stdin and stdout.")
    line = memoryview(request.model_dump_json().encode() + b"\n")
    try:
        while line:
            line = line[process.stdin.write(line) :]
    except BrokenPipeError:
        return b""
    return process.stdout.read()
