"""Run replays of steps: each in a process of its own, a few at once, within a time limit."""

import sys
import threading
from collections.abc import Sequence

from batchgrad_engine.replay import Replayed, Request
from batchgrad_service.one_answer import OnShutdown, ask
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
        on_shutdown: OnShutdown,
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
        answer = ask(self._command, request.model_dump_json(), self.seconds, self._on_shutdown)
        if answer.expired:
            raise ConflictError(
                f"The replay of step {request.step} took longer than {self.seconds:g} s "
                "(replay_timeout_seconds) and was ended: choose a step soon after a checkpoint.",
                code="replay_too_long",
            )
        if answer.code:
            raise ProblemError(
                f"The replay of step {request.step} failed (exit code {answer.code}); the "
                "service's log says why.",
                code="replay_failed",
            )
        return Replayed.model_validate_json(answer.content)
