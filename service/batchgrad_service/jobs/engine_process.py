"""One engine as a process: started with its order, heard line by line, ended with its group."""

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
from batchgrad_workers.system.processes import kill_group

ENGINE_COMMAND = (sys.executable, "-m", "batchgrad_engine.main")
ENDED_BY_RAY = ("Failed to connect to GCS within", "_raylet.so(")
"""What Ray prints when it ends a driver: its head stays away, or a check in its native code fails,
as when a new head does not know the old one's nodes."""
LOOK_SECONDS = 0.1
"""How often a stopped process is looked at."""
LOG_BYTES = 2**20
LOG_TAIL_BYTES = 4000
LOG_TAIL_LINES = 20
ENVIRONMENT = {
    # One microbatch is one computation on one BLAS thread: the same bits everywhere.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONFAULTHANDLER": "1",  # a crash in native code leaves a traceback in the log
}


log = logging.getLogger(__name__)


class EngineProtocolError(Exception):
    """The engine printed something that is no EngineMessage."""


@dataclass(frozen=True)
class EngineExit:
    """How a process ended: its exit code, negative for a signal, and the end of its log."""

    code: int
    log: list[str]

    @property
    def cluster_lost(self) -> bool:
        """Whether it ended for want of Ray, which ends a driver itself and says so in its log."""
        return self.code == CLUSTER_LOST or any(
            sign in line for line in self.log for sign in ENDED_BY_RAY
        )

    def __str__(self) -> str:
        if self.cluster_lost:
            return "The Ray cluster is gone, or its head is out of reach: ray status tells more."
        if self.code >= 0:
            return f"The engine ended with exit code {self.code}."
        return f"The engine was ended by {signal.Signals(-self.code).name}."


class EngineProcess:
    """A running engine, leader of a session and process group of its own.

    `messages` and `wait` belong to one thread; `send`, `close_stdin` and `kill` to any. None of
    them waits for the engine to read: a thread writes to its pipe, the order first. An engine that
    stays stopped (SIGSTOP) for `stopped_seconds` is killed.

    Raises:
        OSError: no process or thread can be started; none is left then.
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
        _bound(self._log)
        self._unwritten: queue.SimpleQueue[AnyToEngine | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_all, name="engine-writer", daemon=True)
        self._alive = threading.Lock()  # held while the process may be signalled or is reaped
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
        """The process's number, which is its group's too."""
        return self._process.pid

    def messages(self) -> Iterator[AnyEngineMessage]:
        """What the engine says until its stdout ends. Raises EngineProtocolError."""
        if self._process.stdout is None:
            raise TypeError("The engine needs a pipe for stdout.")
        with self._process.stdout as pipe, open(pipe.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    return  # killed in the middle of it
                try:
                    yield EngineMessage.validate_json(line)
                except ValidationError as error:
                    raise EngineProtocolError(
                        f"The engine printed {line[:200]!r}, which is no engine message: "
                        f"{error.errors(include_url=False)[0]['msg']}"
                    ) from error

    def send(self, command: AnyToEngine) -> None:
        """Tell the engine what to do at its next step boundary; nothing if it is gone."""
        self._unwritten.put(command)

    def close_stdin(self) -> None:
        """Ask for a checkpoint and an end."""
        self._unwritten.put(None)

    def kill(self) -> None:
        """SIGKILL to the whole group, unless it ended already."""
        with self._alive:
            if self._process.returncode is None:
                kill_group(self._process.pid)

    def wait(self) -> EngineExit:
        """How the process ended; nothing of its group is left then."""
        self._reaper.join()
        self.close_stdin()
        self._writer.join()  # nobody reads any more, so its write fails
        with self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, end - LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        return EngineExit(self._process.returncode, lines[-LOG_TAIL_LINES:])

    def _write_all(self) -> None:
        """Write the order and all commands, until the pipe is to be closed or nobody reads it."""
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
                    return  # it is gone; `wait` says how
                message = self._unwritten.get()

    def _reap(self) -> None:
        # Look without reaping: until then the group's number cannot become another's, and what
        # the engine left in its group would hold our end of its stdout open.
        while self._change(os.WEXITED | os.WSTOPPED | os.WNOWAIT) == os.CLD_STOPPED:
            self._take_note(os.WSTOPPED)
            self._wait_while_stopped()
        with self._alive:
            kill_group(self._process.pid)
            self._process.wait()

    def _wait_while_stopped(self) -> None:
        """Until the engine goes on or ends; at last by force."""
        deadline = time.monotonic() + self._stopped_seconds
        while not self._change(os.WEXITED | os.WCONTINUED | os.WNOHANG | os.WNOWAIT):
            if time.monotonic() >= deadline:
                log.warning("The engine was stopped for %g s: it is killed.", self._stopped_seconds)
                self.kill()
                return
            time.sleep(LOOK_SECONDS)
        self._take_note(os.WCONTINUED)

    def _change(self, options: int) -> int:
        """What happened to the process, CLD_…; 0 where nothing did and WNOHANG was given."""
        found = os.waitid(os.P_PID, self._process.pid, options)
        return 0 if found is None else found.si_code

    def _take_note(self, change: int) -> None:
        """Hear no more of a change that was seen."""
        with suppress(ChildProcessError):  # it has ended meanwhile, which alone can be seen now
            self._change(change | os.WNOHANG)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    environment = os.environ | ENVIRONMENT | dict(more)
    if "RAY_AUTH_TOKEN_PATH" in more:
        environment.pop("RAY_AUTH_TOKEN", None)  # a token by value would win over the file
    return environment


def _bound(log: Path) -> None:
    """Keep a job's log from growing with every attempt: one earlier part, one current."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
