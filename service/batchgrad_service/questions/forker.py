"""Start questions/process.py, and have it fork the processes that answer questions."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from batchgrad_service.child_environment import ENVIRONMENT
from batchgrad_service.problems import UnavailableError
from batchgrad_workers.system.processes import end_session, kill_group

COMMAND = (sys.executable, "-m", "batchgrad_service.questions.process")


EXIT_STATUS_SECONDS = 5.0
"""How long to wait for the exit status of a process that has ended."""


@dataclass(eq=False)
class ForkedProcess:
    """A process that answers questions: a socket to it, and a pipe that brings its exit status."""

    connection: socket.socket
    status: int
    handle: int | None = None
    """A descriptor of the process itself (pidfd), if it has told its id."""

    _lock: threading.Lock = field(default_factory=threading.Lock)  # a closed number is reused

    def identify(self, pid: int) -> None:
        """Remember the process that told this id, so that it can be ended, if it still lives.

        It may have answered and ended since. Its id may be another's then, but only after its exit
        status has come.
        """
        if self.handle is not None:
            return
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            if select.select([self.status], [], [], 0)[0]:
                os.close(handle)
            else:
                self.handle = handle

    def end(self) -> None:
        """End the process at once, whatever it does; from any thread."""
        with self._lock, suppress(OSError):  # it has just ended
            self.connection.shutdown(socket.SHUT_RDWR)  # it ends before its next message
            if self.handle is not None:
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def exit_status(self) -> int | None:
        """Its exit code, or -N if signal N ended it; None if it was never forked."""
        ready, _, _ = select.select([self.status], [], [], EXIT_STATUS_SECONDS)
        text = os.read(self.status, 16) if ready else b""
        return int(text) if text else None

    def close(self) -> None:
        """Close socket and pipe; the process ends when it has answered."""
        with self._lock:
            self.connection.close()
            os.close(self.status)
            if self.handle is not None:
                os.close(self.handle)
                self.handle = None


class Forker:
    """The process that forks others; started when needed, also after it died. Not thread-safe."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> socket.socket:
        """Return the socket for fork commands; start the process if needed, without waiting."""
        if self._control is not None and self._process and self._process.poll() is None:
            return self._control
        self._detach()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*self._command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=os.environ | ENVIRONMENT,
            )
        return self._control

    def fork(self) -> ForkedProcess:
        """Return a new process, which reads questions from its socket once it has started.

        Raises:
            UnavailableError: the process cannot be started.
        """
        for _ in range(2):
            control = self.start()
            ours, theirs = socket.socketpair()
            reading, writing = os.pipe()
            forked = ForkedProcess(ours, reading)
            try:
                with theirs:
                    socket.send_fds(control, [b"f"], [theirs.fileno(), writing])
            except OSError:  # it has just ended; start another
                forked.close()
                self._detach()
            else:
                return forked
            finally:
                os.close(writing)
        raise UnavailableError(
            "The service cannot start a process to compute the response: send the request again "
            "later.",
            code="machine_exhausted",
            headers={"Retry-After": "2"},
        )

    def stop(self) -> None:
        """End the process and all that it forked; return when they have ended.

        Raises:
            TimeoutError: a process does not end after SIGKILL.
        """
        process = self._process
        if process is not None:
            kill_group(process.pid)
        self._detach()
        if process is not None:
            end_session(process.pid, wait_seconds=0)

    def _detach(self) -> None:
        """End the process but not those that it forked."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
