"""Messages between the service and a process that answers questions, on a Unix socket.

Each message is a line of JSON (`Question` or `AnswerHeader`) and then `bytes` bytes: the question's
body, or the answer. Before the answer to an operation come messages of `Progress`.
"""

from typing import Literal

from pydantic import BaseModel

from batchgrad.contract import FieldError, OperationKind
from batchgrad_service.problems import (
    BadRequestError,
    ConflictError,
    InsufficientStorageError,
    InvalidError,
    NotFoundError,
    ProblemError,
    TooLargeError,
)
from batchgrad_service.questions.kinds import Kind

Outcome = Literal["progress", "answer", "problem", "out_of_memory", "broken"]

PROBLEMS = {
    kind.default_code: kind
    for kind in (
        BadRequestError,
        ConflictError,
        InsufficientStorageError,
        InvalidError,
        NotFoundError,
        TooLargeError,
    )
}
"""The problems that a process may answer; any other exception is the service's own fault."""


class Question(BaseModel):
    """A question's header: its kind, its length, and how much it may take.

    `file_bytes` is the length of the longest file that an operation may write; -1 for any.
    """

    kind: Kind | OperationKind
    bytes: int
    memory_bytes: int
    cpu_seconds: float
    file_bytes: int = -1


class AnswerHeader(BaseModel):
    """An answer's header. `last`: the process answers no further question."""

    outcome: Outcome
    bytes: int
    last: bool


class Progress(BaseModel):
    """How far an operation is; `pid` is its process."""

    pid: int
    rows_done: int
    rows: int | None


class SerializedProblem(BaseModel):
    """A problem as JSON; `kind` is a key of PROBLEMS."""

    kind: str
    detail: str
    code: str
    errors: list[FieldError]

    @classmethod
    def of(cls, problem: ProblemError) -> "SerializedProblem":
        """The problem, as it travels."""
        kind = next(kind for kind, one in PROBLEMS.items() if isinstance(problem, one))
        return cls(kind=kind, detail=problem.detail, code=problem.code, errors=problem.errors)

    def problem(self) -> ProblemError:
        """The problem again, to be raised."""
        return PROBLEMS[self.kind](self.detail, code=self.code, errors=self.errors)
