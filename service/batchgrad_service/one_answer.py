"""Processes that answer one request, within a time limit; all that they have started ends too."""

import os
import select
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO

from batchgrad_service.child_environment import ENVIRONMENT
from batchgrad_service.problems import UnavailableError
from batchgrad_workers.system.processes import end_session

OnShutdown = Callable[[Callable[[], None]], AbstractContextManager[None]]
"""Subscribes to the service's shutdown."""

_POLL_MILLISECONDS = 100
_CHUNK_BYTES = 2**16


@dataclass(frozen=True)
class Answer:
    """What a process wrote to stdout, how it ended, and whether that was by the time limit.

    `code` is its exit code, negative for a signal.
    """

    content: bytes
    code: int
    expired: bool


def ask(
    command: Sequence[str],
    request: str,
    seconds: float,
    on_shutdown: OnShutdown,
    *,
    log: IO[bytes] | None = None,
) -> Answer:
    """Start `command`, write a line to its stdin, and return what it wrote when it has ended.

    It is killed after `seconds`, and at the service's shutdown. A user's code may have started
    processes, which hold its stdout open: nobody waits for them, and those of its session are
    killed. `log` gets its stderr, by default the service's.

    Raises:
        UnavailableError: the service stops, or is about to.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        bufsize=0,
        start_new_session=True,
        env=os.environ | ENVIRONMENT,
    ) as process:
        expired, stopped = threading.Event(), threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        def stop() -> None:
            stopped.set()
            process.kill()

        timer = threading.Timer(seconds, expire)
        timer.start()
        try:
            with on_shutdown(stop):
                _send(process, request)
                content = _read(process)
        finally:
            timer.cancel()
            process.kill()  # without effect if it has ended
            # Before the process is reaped, its session's id cannot be reused.
            end_session(process.pid, wait_seconds=0)
    if stopped.is_set():
        raise UnavailableError("The service is stopping.", code="not_ready")
    return Answer(content, process.returncode, expired.is_set())


def _send(process: subprocess.Popen[bytes], request: str) -> None:
    """Write the request's line; stdin stays open, since its end would end the process."""
    if process.stdin is None:
        raise TypeError("The process needs a pipe for stdin.")
    line = memoryview(request.encode() + b"\n")
    try:
        while line:
            line = line[process.stdin.write(line) :]
    except BrokenPipeError:
        return  # it has ended; its exit code says how


def _read(process: subprocess.Popen[bytes]) -> bytes:
    """What the process writes until it ends, whoever else holds its stdout."""
    if process.stdout is None:
        raise TypeError("The process needs a pipe for stdout.")
    pipe, content = process.stdout.fileno(), bytearray()
    readable = select.poll()
    readable.register(pipe, select.POLLIN)
    while True:
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if not readable.poll(0 if ended else _POLL_MILLISECONDS):
            if ended:
                return bytes(content)
            continue
        chunk = os.read(pipe, _CHUNK_BYTES)
        if not chunk:  # it has closed its stdout
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            return bytes(content)
        content += chunk
