"""Exceptions for requests that fail; over HTTP each becomes application/problem+json (RFC 9457).

ProblemError
├── InvalidError                  422  a field has a value that cannot be used
│   └── IdempotencyConflictError  422  the Idempotency-Key was used with another body
├── BadRequestError               400  the request cannot be parsed
├── UnauthorizedError             401  the token is missing or wrong
├── ForbiddenError                403  the credentials do not allow this request
├── NotFoundError                 404  the resource does not exist
├── ConflictError                 409  the resource is in a state that does not allow this
├── TooLargeError                 413  the body is longer than the limit
├── UnsupportedMediaTypeError     415  the route does not read this content type
├── UnknownHostError              421  the Host header does not name this service
├── TooManyAttemptsError          429  too many wrong tokens came from this address
├── UnavailableError              503  the service cannot do this now
├── InsufficientStorageError      507  the disk is full
└── StoreUnavailable              503  or 507: the database cannot be used (store/unavailable.py)
"""

from collections.abc import Sequence
from typing import ClassVar

from batchgrad.contract import FieldError


class ProblemError(Exception):
    """A failed request: a stable `code`, a message and, if known, the invalid fields."""

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.errors = list(errors)
        self.headers = headers or {}


class InvalidError(ProblemError):
    """The request was parsed, but a value in it cannot be used."""

    status = 422
    default_code = "invalid_request"

    @classmethod
    def field(cls, pointer: str, detail: str, *, code: str | None = None) -> "InvalidError":
        """One invalid field, named by its JSON pointer (RFC 6901) into the body; "" is the body."""
        return cls(detail, code=code, errors=[FieldError(pointer=pointer, detail=detail)])

    @classmethod
    def fields(cls, errors: Sequence[FieldError]) -> "InvalidError":
        """One or more invalid fields; the message describes the first one."""
        first = errors[0]
        detail = f"{first.pointer}: {first.detail}" if first.pointer else first.detail
        if len(errors) > 1:
            detail += f" ({len(errors) - 1} more in `errors`.)"
        return cls(detail, errors=errors)


class IdempotencyConflictError(InvalidError):
    """The Idempotency-Key was first used with a request that had another body."""

    default_code = "idempotency_key_reused"


class BadRequestError(ProblemError):
    """The request cannot be parsed."""

    status = 400
    default_code = "bad_request"


class UnauthorizedError(ProblemError):
    """The bearer token is missing or wrong."""

    status = 401
    default_code = "unauthorized"


class ForbiddenError(ProblemError):
    """The credentials do not allow this request, or no longer."""

    status = 403
    default_code = "forbidden"


class NotFoundError(ProblemError):
    """The resource does not exist."""

    status = 404
    default_code = "not_found"


class ConflictError(ProblemError):
    """The resource exists, but its state does not allow the request."""

    status = 409
    default_code = "conflict"


def dataset_gone(job_id: str, digest: str) -> ConflictError:
    """Return the problem to raise where a content that a job used is not stored any more."""
    return ConflictError(
        f"The dataset of job {job_id} was deleted or replaced: push the same data again with the "
        f"same options, under any name; its digest is {digest}.",
        code="dataset_gone",
    )


class TooLargeError(ProblemError):
    """The body is longer than the configured limit."""

    status = 413
    default_code = "too_large"


class UnsupportedMediaTypeError(ProblemError):
    """The route does not read the body's content type."""

    status = 415
    default_code = "unsupported_media_type"


class UnknownHostError(ProblemError):
    """The Host header does not name this service."""

    status = 421
    default_code = "unknown_host"


class TooManyAttemptsError(ProblemError):
    """Too many wrong tokens came from this address in a short time."""

    status = 429
    default_code = "too_many_attempts"


class UnavailableError(ProblemError):
    """The service cannot do this now, but may later."""

    status = 503
    default_code = "unavailable"


class InsufficientStorageError(ProblemError):
    """The disk is full."""

    status = 507
    default_code = "disk_full"
