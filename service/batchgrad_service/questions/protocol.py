"""Messages between the service and a process that answers questions, on a Unix socket.

Each message is a line of JSON (`Question` or `AnswerHeader`) and then `bytes` bytes: the question's
body, or the answer.
"""

from typing import Literal

from pydantic import BaseModel

from batchgrad.contract import FieldError
from batchgrad_service.problems import BadRequestError, InvalidError, ProblemError
from batchgrad_service.questions.kinds import Kind

Outcome = Literal["answer", "problem", "out_of_memory", "broken"]


class Question(BaseModel):
    """A question's header: its kind, its length, and how much memory and CPU time it may take."""

    kind: Kind
    bytes: int
    memory_bytes: int
    cpu_seconds: float


class AnswerHeader(BaseModel):
    """An answer's header. `last`: the process answers no further question."""

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
