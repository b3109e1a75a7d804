"""What the service and a process that answers questions say to each other, on a Unix socket.

A line of JSON, then as many bytes as it says: the question's body, or the answer.
"""

from typing import Literal

from pydantic import BaseModel

from batchgrad.contract import FieldError
from batchgrad_service.problems import BadRequestError, InvalidError, ProblemError
from batchgrad_service.questions.kinds import Kind

Outcome = Literal["answer", "problem", "out_of_memory", "broken"]


class Question(BaseModel):
    """A question; it may take so much more memory, and so many seconds of CPU time."""

    kind: Kind
    bytes: int
    memory_bytes: int
    cpu_seconds: float


class Answered(BaseModel):
    """How it went. `last`: this process answers no other question."""

    outcome: Outcome
    bytes: int
    last: bool


class SerializedProblem(BaseModel):
    """A problem as JSON."""

    kind: Literal["invalid", "bad_request"]
    detail: str
    code: str
    errors: list[FieldError]

    @classmethod
    def of(cls, problem: ProblemError) -> "SerializedProblem":
        """The problem, as it travels."""
        kind: Literal["invalid", "bad_request"] = (
            "bad_request" if isinstance(problem, BadRequestError) else "invalid"
        )
        return cls(kind=kind, detail=problem.detail, code=problem.code, errors=problem.errors)

    def problem(self) -> ProblemError:
        """The problem again, to be raised."""
        made = BadRequestError if self.kind == "bad_request" else InvalidError
        return made(self.detail, code=self.code, errors=self.errors)
