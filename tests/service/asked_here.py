"""Questions answered in this very process, for tests that are not about the other ones."""

from collections.abc import Callable
from io import BytesIO
from typing import IO

from batchgrad_service.questions.kinds import ANSWERS, Kind

Answer = Callable[[bytes], bytes]


class AskedHere:
    """Answers as the processes do; `gradients` may answer that kind instead."""

    def __init__(self, gradients: Answer = ANSWERS["gradients"]) -> None:
        self._answers = {**ANSWERS, "gradients": gradients}
        self.asked: list[Kind] = []

    async def ask(self, kind: Kind, body: bytes, *, data_bytes: int = 0) -> IO[bytes]:  # noqa: ARG002
        self.asked.append(kind)
        return BytesIO(self._answers[kind](body))
