"""The service's end of question_process.py, which forks the processes that answer questions."""

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
    """Started when it is needed, and again when it has died. One thread at a time."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> socket.socket:
        """The socket over which it is told to fork; it may still be starting."""
        if self._control is not None and self._process and self._process.poll() is None:
            return self._control
        self._leave()
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
        """A socket to a new process, which reads questions from it as soon as it is there.

        Raises:
            UnavailableError: it cannot be started.
        """
        for _ in range(2):
            control = self.start()
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    socket.send_fds(control, [b"f"], [theirs.fileno()])
                except OSError:  # it has just ended: another is started
                    ours.close()
                    self._leave()
                else:
                    return ours
        raise UnavailableError("No process can be started to answer.", code="requests_busy")

    def stop(self) -> None:
        """End it, and every process that it has forked; returns when they are gone.

        Raises:
            TimeoutError: the kernel does not let one go.
        """
        process = self._process
        if process is not None:
            kill_group(process.pid)
        self._leave()
        if process is not None:
            end_session(process.pid, wait_seconds=0)

    def _leave(self) -> None:
        """Part from it; those that it has forked go on."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
