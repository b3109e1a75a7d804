"""Accountants of private jobs: each in a process of its own, within a time limit."""

import sys
from collections.abc import Sequence

from pydantic import ValidationError

from batchgrad.contract import Privacy
from batchgrad_engine.privacy.accountant.messages import Answer, Request
from batchgrad_service.one_answer import OnShutdown, ask
from batchgrad_service.problems import InvalidError

COMMAND = (sys.executable, "-m", "batchgrad_engine.privacy.accountant")
SECONDS = 120.0
POINTER = "/privacy"


class AccountantProcess:
    """Runs accountants, from any thread; `seconds` is what one may take.

    `on_shutdown` subscribes to the service's shutdown, which ends the running ones.
    """

    def __init__(
        self,
        on_shutdown: OnShutdown,
        *,
        seconds: float = SECONDS,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._on_shutdown = on_shutdown
        self._seconds = seconds
        self._command = command

    def run(self, request: Request) -> Answer:
        """Run an accountant and return its answer.

        Raises:
            InvalidError: it took too long, or died.
        """
        found = ask(self._command, request.model_dump_json(), self._seconds, self._on_shutdown)
        if found.expired:
            raise InvalidError.field(
                POINTER,
                f"The accountant needed more than {self._seconds:g} s for {request.steps:,} "
                f"step{'s' * (request.steps != 1)} and was ended: {_quicker(request.privacy)}.",
                code="accountant_too_long",
            )
        if not found.code:
            try:
                return Answer.model_validate_json(found.content)
            except ValidationError as error:
                raise _failed(found.code) from error
        raise _failed(found.code)


def _quicker(privacy: Privacy) -> str:
    """What makes an accountant quicker, of what the spec does not have yet."""
    ways = []
    if privacy.accountant == "pld" and privacy.adjacency == "zero_out":
        ways.append("use accountant: rdp")
    if privacy.noise_multiplier is None:
        ways.append("give noise_multiplier instead of epsilon")
    ways.append("train for fewer steps")
    return ", or ".join(ways)


def _failed(code: int) -> InvalidError:
    return InvalidError.field(
        POINTER,
        f"The accountant ended with code {code} (-9 is often a lack of memory) and without an "
        "answer; the service's log says why. Give other figures, or tell who runs the service.",
        code="accountant_failed",
    )
