"""Questions answered in the test's own process, for tests that need no pool of processes."""

from collections.abc import Callable
from io import BytesIO
from typing import IO

from batchgrad.contract import OperationKind
from batchgrad_service.questions.kinds import ANSWERS, OPERATIONS, Kind

Answer = Callable[[bytes], bytes]


class InlineQuestions:
    """Answers like the pool's processes; `gradients` replaces the answer to that kind."""

    def __init__(self, gradients: Answer = ANSWERS["gradients"]) -> None:
        self._answers = {**ANSWERS, "gradients": gradients}
        self.kinds: list[Kind] = []

    async def ask(self, kind: Kind, body: bytes, *, data_bytes: int = 0) -> IO[bytes]:  # noqa: ARG002
        self.kinds.append(kind)
        return BytesIO(self._answers[kind](body))

    def work(
        self,
        kind: OperationKind,
        body: bytes,
        *,
        cpu_seconds: float,  # noqa: ARG002
        file_bytes: int,  # noqa: ARG002
        on_start: Callable[[Callable[[], None]], None],
        on_progress: Callable[[int, int | None], None],
    ) -> bytes:
        on_start(lambda: None)
        return OPERATIONS[kind](body, on_progress)
