"""Preflights: each in a process of its own, within a time limit; the service imports no PyTorch."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import IO

from batchgrad_engine.preflight.messages import Preflighted, Request
from batchgrad_service.jobs.engine_process import ENVIRONMENT
from batchgrad_service.problems import InvalidError

PREFLIGHT_COMMAND = (sys.executable, "-m", "batchgrad_engine.preflight")
TAIL_BYTES = 4000
TAIL_LINES = 20
POINTER = "/model/torch"


class PreflightProcess:
    """Runs preflights, from any thread; `seconds` is what one may take.

    `on_shutdown` subscribes to the service's shutdown, which ends the running ones.
    """

    def __init__(
        self,
        seconds: float,
        on_shutdown: Callable[[Callable[[], None]], AbstractContextManager[None]],
        *,
        command: Sequence[str] = PREFLIGHT_COMMAND,
    ) -> None:
        self.seconds = seconds
        self._on_shutdown = on_shutdown
        self._command = command

    def run(self, request: Request) -> Preflighted:
        """Run a preflight and return its answer.

        Raises:
            InvalidError: it took too long, or died of the task's code.
        """
        with tempfile.TemporaryFile() as log, self._started(log) as process:
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
                raise InvalidError.field(
                    POINTER,
                    f"The check of {request.spec.model.torch} took longer than {self.seconds:g} s "
                    "(preflight_timeout_seconds) and was ended: build a smaller module, or move "
                    f"what takes long into the dataset.{_tail(log)}",
                    code="preflight_too_long",
                )
            if process.returncode:
                raise InvalidError.field(
                    POINTER,
                    f"The check of {request.spec.model.torch} ended with {_end(process)}."
                    f"{_tail(log)}",
                    code="preflight_failed",
                )
            return Preflighted.model_validate_json(answer)

    def _started(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
            start_new_session=True,
            env=os.environ | ENVIRONMENT,
        )


def _end(process: subprocess.Popen[bytes]) -> str:
    if process.returncode < 0:
        return f"signal {-process.returncode} (9 is often a lack of memory)"
    return f"exit code {process.returncode}"


def _tail(log: IO[bytes]) -> str:
    """The end of what it printed."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - TAIL_BYTES))
    lines = log.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join([" The end of its output:", *lines]) if lines else ""


def _exchange(process: subprocess.Popen[bytes], request: Request) -> bytes:
    """Send the request and read the answer; closing stdin would end the process."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("A preflight needs pipes for stdin and stdout.")
    line = memoryview(request.model_dump_json().encode() + b"\n")
    try:
        while line:
            line = line[process.stdin.write(line) :]
    except BrokenPipeError:
        return b""
    return process.stdout.read()
