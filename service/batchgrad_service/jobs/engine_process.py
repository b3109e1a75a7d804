"""An engine's process: start it, exchange messages by lines, end it with its process group."""

import errno
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from batchgrad_engine.messages import (
    CLUSTER_LOST,
    AnyEngineMessage,
    AnyToEngine,
    EngineMessage,
    Start,
)
from batchgrad_service.child_environment import ENVIRONMENT
from batchgrad_workers.system.processes import kill_group

ENGINE_COMMAND = (sys.executable, "-m", "batchgrad_engine.main")
ENDED_BY_RAY = ("Failed to connect to GCS within", "_raylet.so(")
"""What Ray prints when it ends a driver: it cannot reach its head, or a check in its native code
fails, as when a new head does not know the old one's nodes."""
POLL_SECONDS = 0.1
"""The interval at which a stopped process is polled."""
LOG_BYTES = 2**20
LOG_TAIL_BYTES = 4000
LOG_TAIL_LINES = 20


log = logging.getLogger(__name__)


class EngineProtocolError(Exception):
    """The engine printed a line that is not an EngineMessage."""


@dataclass(frozen=True)
class EngineExit:
    """How a process ended: its exit code, negative for a signal, and the end of its log."""

    code: int
    log: list[str]

    @property
    def cluster_lost(self) -> bool:
        """Whether it ended because Ray was lost: Ray ends a driver itself and logs the reason."""
        return self.code == CLUSTER_LOST or any(
            sign in line for line in self.log for sign in ENDED_BY_RAY
        )

    def __str__(self) -> str:
        if self.cluster_lost:
            return "The Ray cluster has ended, or its head cannot be reached: run `ray status`."
        if self.code >= 0:
            return f"The engine ended with exit code {self.code}."
        return f"The engine was ended by {signal.Signals(-self.code).name}."


class EngineProcess:
    """A running engine, leader of a session and process group of its own.

    Call `messages` and `wait` from one thread; `send`, `close_stdin` and `kill` from any. None of
    them waits for the engine to read: a thread writes to its pipe, `start` first. An engine that
    stays stopped (SIGSTOP) for `stopped_seconds` is killed.

    Raises:
        OSError: the process or a thread cannot be started; no process is left then.
    """

    def __init__(
        self,
        start: Start,
        *,
        command: Sequence[str] = ENGINE_COMMAND,
        environment: Mapping[str, str] | None = None,
        stopped_seconds: float = 30.0,
    ) -> None:
        self._start = start
        self._stopped_seconds = stopped_seconds
        self._log = start.job_directory / "engine.log"
        _rotate(self._log)
        self._unwritten: queue.SimpleQueue[AnyToEngine | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_all, name="engine-writer", daemon=True)
        self._alive = threading.Lock()  # held while the process is signalled or reaped
        with self._log.open("ab") as stderr:
            self._log_start = stderr.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                start_new_session=True,
                env=_environment(environment or {}),
            )
        self._reaper = threading.Thread(target=self._reap, name="engine-reaper", daemon=True)
        try:
            self._writer.start()
            self._reaper.start()
        except RuntimeError as error:
            kill_group(self._process.pid)
            with self._process:  # closes its pipes, and reaps it
                raise OSError(errno.EAGAIN, str(error)) from error

    @property
    def pid(self) -> int:
        """The id of the process, and of its process group."""
        return self._process.pid

    def messages(self) -> Iterator[AnyEngineMessage]:
        """Yield the engine's messages until its stdout ends. Raises EngineProtocolError."""
        if self._process.stdout is None:
            raise TypeError("The engine needs a pipe for stdout.")
        with self._process.stdout as pipe, open(pipe.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    return  # killed in the middle of a line
                try:
                    yield EngineMessage.validate_json(line)
                except ValidationError as error:
                    raise EngineProtocolError(
                        f"The engine printed {line[:200]!r}, which is not an engine message: "
                        f"{error.errors(include_url=False)[0]['msg']}"
                    ) from error

    def send(self, command: AnyToEngine) -> None:
        """Send a command for the engine's next step boundary; without effect if it has ended."""
        self._unwritten.put(command)

    def close_stdin(self) -> None:
        """Close the engine's stdin: it writes a checkpoint and ends."""
        self._unwritten.put(None)

    def kill(self) -> None:
        """Send SIGKILL to the process group, unless the engine has ended already."""
        with self._alive:
            if self._process.returncode is None:
                kill_group(self._process.pid)

    def wait(self) -> EngineExit:
        """Wait until the process group has ended; return how the process ended."""
        self._reaper.join()
        self.close_stdin()
        self._writer.join()  # no process reads the pipe any longer, so the write fails
        with self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, end - LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        return EngineExit(self._process.returncode, lines[-LOG_TAIL_LINES:])

    def _write_all(self) -> None:
        """Write the first message and all commands until the pipe is closed on either side."""
        if self._process.stdin is None:
            raise TypeError("The engine needs a pipe for stdin.")
        message: Start | AnyToEngine | None = self._start
        with self._process.stdin as pipe:
            while message is not None:
                data = memoryview(message.model_dump_json().encode() + b"\n")
                try:
                    while data:
                        data = data[pipe.write(data) :]
                except BrokenPipeError:
                    return  # the engine has ended; `wait` says how
                message = self._unwritten.get()

    def _reap(self) -> None:
        # Wait without reaping: before the process is reaped, its group's id cannot be reused.
        # Processes that it left in its group must be killed: they hold its stdout open.
        while self._change(os.WEXITED | os.WSTOPPED | os.WNOWAIT) == os.CLD_STOPPED:
            self._consume(os.WSTOPPED)
            self._wait_while_stopped()
        with self._alive:
            kill_group(self._process.pid)
            self._process.wait()

    def _wait_while_stopped(self) -> None:
        """Wait until the engine continues or ends; kill it after `stopped_seconds`."""
        deadline = time.monotonic() + self._stopped_seconds
        while not self._change(os.WEXITED | os.WCONTINUED | os.WNOHANG | os.WNOWAIT):
            if time.monotonic() >= deadline:
                log.warning("Killing an engine that was stopped for %g s.", self._stopped_seconds)
                self.kill()
                return
            time.sleep(POLL_SECONDS)
        self._consume(os.WCONTINUED)

    def _change(self, options: int) -> int:
        """Return the process's change of state, CLD_…; 0 for none, if WNOHANG is given."""
        found = os.waitid(os.P_PID, self._process.pid, options)
        return 0 if found is None else found.si_code

    def _consume(self, change: int) -> None:
        """Consume a change of state, so that it is not reported again."""
        with suppress(ChildProcessError):  # it has ended meanwhile; only that is reported now
            self._change(change | os.WNOHANG)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    environment = os.environ | ENVIRONMENT | dict(more)
    if "RAY_AUTH_TOKEN_PATH" in more:
        environment.pop("RAY_AUTH_TOKEN", None)  # it would take precedence over the token's file
    return environment


def _rotate(log: Path) -> None:
    """Rotate a log that is too long, so that a job keeps one earlier part and one current."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
