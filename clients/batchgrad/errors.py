"""Everything that the client raises.

* BatchgradError
  x ConnectionFailed        no answer, or the connection broke
  x Timeout                 the service did not answer in time
  x UnexpectedAnswer        the answer is not one of a batchgrad service
  x ApiError                the service refused; `problem` says why
    + InvalidRequest        400, 413, 415, 422: `errors` lists the fields
    + Unauthorized          401, 403
    + NotFound              404
    + Conflict              409
    + TooManyRequests       429
    + ServerError           5xx
  x InvalidSpec             a spec that is not valid; `errors` lists the fields
  x InvalidArgument         an argument of a method is not valid; nothing was sent
  x FileFailed              a file cannot be read or written
  x Unavailable             an extra that is not installed, a private service that did not start
  x JobError                waiting for a job ended without success; `job` is the job
    + JobFailed
    + JobCancelled
    + NotFinished           the timeout came before the job ended

`request` is the request that an error is about. All errors can be pickled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

__all__ = [
    "ApiError",
    "BatchgradError",
    "Conflict",
    "ConnectionFailed",
    "FileFailed",
    "InvalidArgument",
    "InvalidRequest",
    "InvalidSpec",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "NotFinished",
    "NotFound",
    "SentRequest",
    "ServerError",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
]

if TYPE_CHECKING:
    from batchgrad.contract import FieldError, Job, ProblemDetails


@dataclass(frozen=True)
class SentRequest:
    """Method and URL of a request; no headers, so that no token gets into a log."""

    method: str
    url: str

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


class BatchgradError(Exception):
    """Base class of all errors; `request` is None if the error is not about one."""

    def __init__(self, message: str, *, request: SentRequest | None = None) -> None:
        super().__init__(message)
        self.request = request

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state: subclasses take other arguments than the message in `args`."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    kind: type[BatchgradError], arguments: tuple[Any, ...], state: dict[str, Any]
) -> BatchgradError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class ConnectionFailed(BatchgradError):
    """No service answers at the URL, or the connection broke."""


class Timeout(BatchgradError):
    """The service did not answer in time."""


class UnexpectedAnswer(BatchgradError):
    """The answer is not what a batchgrad service of this version sends."""


class ApiError(BatchgradError):
    """The service refused a request."""

    def __init__(self, problem: "ProblemDetails", *, status: int, request: SentRequest) -> None:
        super().__init__(readable(problem.detail or problem.title, problem.errors))
        self.problem = problem
        self.status = status
        self.request: SentRequest = request

    @property
    def errors(self) -> "Sequence[FieldError]":
        """The fields that are not valid, each with a JSON pointer and a sentence."""
        return self.problem.errors


class InvalidRequest(ApiError):
    """The request is not valid; `errors` lists the fields."""


class Unauthorized(ApiError):
    """The token is missing or wrong."""


class NotFound(ApiError):
    """There is no job, dataset or step of this name."""


class Conflict(ApiError):
    """The state of the job or dataset does not allow the request."""


class TooManyRequests(ApiError):
    """The service answered 429 to each attempt: too many requests."""


class ServerError(ApiError):
    """The service failed to answer."""


class InvalidSpec(BatchgradError):
    """A spec is not valid; nothing was sent."""

    def __init__(self, message: str, errors: "Sequence[FieldError]" = ()) -> None:
        super().__init__(readable(message, errors))
        self.errors = list(errors)


class InvalidArgument(BatchgradError):
    """An argument of a method is not valid; nothing was sent."""


class FileFailed(BatchgradError):
    """A file cannot be read or written."""


class Unavailable(BatchgradError):
    """Something that this call needs is not installed or did not start."""


def extra(names: str) -> str:
    """The command that installs extras, such as "service,demo"."""
    return f"pip install 'batchgrad[{names}]', or '.[{names}]' from a clone"


class JobError(BatchgradError):
    """Waiting for a job ended without success."""

    def __init__(self, message: str, job: "Job") -> None:
        super().__init__(message)
        self.job = job


class JobFailed(JobError):
    """The job failed; `job.reason` is the kind of failure."""


class JobCancelled(JobError):
    """The job was cancelled."""


class NotFinished(JobError):
    """Waiting ended before the job did; the job goes on."""


def _pointer(error: "FieldError") -> str:
    return error.pointer


def readable(
    message: str,
    errors: "Sequence[FieldError]",
    place: Callable[["FieldError"], str] = _pointer,
) -> str:
    """The message, then a line for each wrong field, which `place` names.

    Where the message repeats the first field's detail, only the fields are written.
    """
    fields = [_named(place(e), e.detail) for e in errors]
    if fields and errors[0].detail.startswith(_fact(message, errors[0])):
        return "\n".join(fields)
    return "\n".join([message, *(f"  {field}" for field in fields)])


def _named(name: str, detail: str) -> str:
    """A field's name and what is wrong with it, without repeating the name."""
    return detail if not name or detail.startswith(f"{name} ") else f"{name}: {detail}"


def _fact(message: str, error: "FieldError") -> str:
    """The message without the field's name before it, and the count of others behind it."""
    return message.removeprefix(f"{error.pointer}: ").partition(" (")[0]


def api_error_type(status: int) -> type[ApiError]:
    """The class of errors for an HTTP status of 400 or more."""
    if status >= 500:
        return ServerError
    return {
        400: InvalidRequest,
        401: Unauthorized,
        403: Unauthorized,
        404: NotFound,
        409: Conflict,
        413: InvalidRequest,
        415: InvalidRequest,
        422: InvalidRequest,
        429: TooManyRequests,
    }.get(status, ApiError)
