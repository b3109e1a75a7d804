"""The interface of an operation's work in the service, around its process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from batchgrad.contract import Dataset, Evaluation, OperationKind

Ask = Callable[[BaseModel], bytes]
"""Sends a task to the operation's process, and returns the answer; raises a ProblemError."""


@dataclass(frozen=True)
class Result:
    """What an operation has made; `file` is removed when the operation is forgotten."""

    dataset: Dataset | None = None
    evaluation: Evaluation | None = None
    file: Path | None = None
    media_type: str = "application/octet-stream"
    warnings: tuple[str, ...] = ()
    parameters_digest: str | None = None
    parameters_step: int | None = None


class Work(Protocol):
    """A kind of operation."""

    @property
    def kind(self) -> OperationKind:
        """Its key in `questions.kinds.OPERATIONS`."""

    @property
    def key(self) -> str:
        """The same for two requests that ask for the same: they share one operation."""

    @property
    def read_bytes(self) -> int:
        """The bytes that it reads, which decide how much CPU time it may take."""

    @property
    def written_bytes(self) -> int:
        """The length of the longest file that it may write."""

    def run(self, ask: Ask) -> Result:
        """Prepare the task, `ask` the process once, and keep its result. Raises ProblemErrors."""
