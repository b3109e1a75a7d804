"""Preflights: each in a process of its own, within a time limit; the service imports no PyTorch."""

import os
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

from pydantic import ValidationError

from batchgrad_engine.preflight.messages import Preflighted, Request
from batchgrad_service.one_answer import OnShutdown, ask
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
        on_shutdown: OnShutdown,
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
        function = request.spec.model.torch
        with tempfile.TemporaryFile() as log:
            answer = ask(
                self._command, request.model_dump_json(), self.seconds, self._on_shutdown, log=log
            )
            if answer.expired:
                raise InvalidError.field(
                    POINTER,
                    f"The check of {function} took longer than {self.seconds:g} s "
                    "(preflight_timeout_seconds) and was ended: build a smaller module, or move "
                    f"what takes long into the dataset.{_tail(log)}",
                    code="preflight_too_long",
                )
            if answer.code:
                raise InvalidError.field(
                    POINTER,
                    f"The check of {function} ended with {_end(answer.code)}.{_tail(log)}",
                    code="preflight_failed",
                )
            try:
                return Preflighted.model_validate_json(answer.content)
            except ValidationError as error:
                raise InvalidError.field(
                    POINTER,
                    f"The check of {function} ended without an answer, or with another one than "
                    "ours: its code must not end the process, nor write to descriptors that it did"
                    f" not open.{_tail(log)}",
                    code="preflight_failed",
                ) from error


def _end(code: int) -> str:
    if code < 0:
        return f"signal {-code} (9 is often a lack of memory)"
    return f"exit code {code}"


def _tail(log: IO[bytes]) -> str:
    """The end of what it printed."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - TAIL_BYTES))
    lines = log.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join([" The end of its output:", *lines]) if lines else ""
