"""Start questions/process.py, and have it fork the processes that answer questions."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from batchgrad_service.jobs.engine_process import ENVIRONMENT
from batchgrad_service.problems import UnavailableError
from batchgrad_workers.system.processes import end_session, kill_group

COMMAND = (sys.executable, "-m", "batchgrad_service.questions.process")


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

    def fork(self) -> socket.socket:
        """Return a socket to a new process, which reads questions from it once it has started.

        Raises:
            UnavailableError: the process cannot be started.
        """
        for _ in range(2):
            control = self.start()
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    socket.send_fds(control, [b"f"], [theirs.fileno()])
                except OSError:  # it has just ended; start another
                    ours.close()
                    self._detach()
                else:
                    return ours
        raise UnavailableError("No process can be started to answer.", code="requests_busy")

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
