"""Problems for users whose question or operation ended with its process."""

import signal

from batchgrad_service.problems import InvalidError, ProblemError, UnavailableError
from batchgrad_service.questions.kinds import OPERATIONS
from batchgrad_service.questions.protocol import Question

_ANSWER_LESS = "use fewer examples, a smaller microbatch_size or a smaller model, or submit a job."
_READ_LESS = (
    "is the file what its name says, and complete? Use fewer columns (drop) or shorter texts, or "
    "convert it to Parquet or npz; the service's setting is max_request_memory_bytes."
)
_READ_FASTER = "is the file what its name says, and complete? Convert it to Parquet or npz."


def problem_of_end(question: Question, status: int | None) -> ProblemError:
    """Why a process gave no answer; `status` is its exit code, -N for signal N, None if unknown."""
    if status is None or status == -signal.SIGKILL:
        return _killed()
    if status == -signal.SIGPROF:
        return _too_slow(question)
    if question.kind in OPERATIONS and status < 0:
        return InvalidError.field(
            "",
            f"The process that reads the data was ended by {signal.Signals(-status).name}: the "
            "file is damaged, or takes more memory than the "
            f"{_mebibytes(question)} that it may.",
            code="operation_crashed",
        )
    return too_large(question)  # not every library reports a lack of memory


def too_large(question: Question) -> ProblemError:
    """The error for a process that needs more memory than it may."""
    return InvalidError.field(
        "",
        f"The answer takes more than {_mebibytes(question)} of memory, as much as "
        f"this question may: {_ANSWER_LESS}"
        if question.kind not in OPERATIONS
        else f"Reading the data takes more than {_mebibytes(question)} of memory: {_READ_LESS}",
        code="request_memory_exceeded",
    )


def stopping() -> ProblemError:
    """The error for a question that the service's stop ends."""
    return UnavailableError("The service is stopping.", code="not_ready")


def _too_slow(question: Question) -> ProblemError:
    seconds = f"{question.cpu_seconds:.3g} s of CPU time"
    return InvalidError.field(
        "",
        f"The answer takes more than {seconds}, as much as this question may: {_ANSWER_LESS}"
        if question.kind not in OPERATIONS
        else f"Reading the data takes more than {seconds}: {_READ_FASTER}",
        code="request_cpu_time_exceeded",
    )


def _killed() -> ProblemError:
    """The machine is at fault: the kernel's out-of-memory killer, or a fork that failed."""
    return UnavailableError(
        "The process that computes the response was killed or could not be started, probably "
        "because the machine has too little free memory or too many processes: send the request "
        "again later.",
        code="machine_exhausted",
        headers={"Retry-After": "2"},
    )


def _mebibytes(question: Question) -> str:
    return f"{question.memory_bytes / 2**20:.0f} MiB"
