"""What can be wrong with a request, as exceptions; over HTTP each becomes problem+json.

Problem
├── Invalid               422  a field has a value that cannot be used
│   └── IdempotencyConflict 422  the same Idempotency-Key came with another body
├── BadRequest            400  the request itself cannot be read
├── Unauthorized          401  no token, or a wrong one
├── Forbidden             403  not with this secret
├── NotFound              404  there is no such thing
├── Conflict              409  it exists, but not in a state that allows this
├── TooLarge              413  more bytes than this service takes
├── UnsupportedMedia      415  not a format that this service reads
├── Misdirected           421  the Host is not this service's
├── TooManyGuesses        429  too many wrong tokens came from this address
├── Unavailable           503  not now
├── InsufficientStorage   507  the disk has no room for it
└── StoreUnavailable      503  or 507: the database can't be used now (store/unavailable.py)
"""

from collections.abc import Sequence
from typing import ClassVar

from batchgrad.contract import ProblemError


class Problem(Exception):
    """A problem with a stable `code`, a sentence for people and, if known, the wrong fields."""

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[ProblemError] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.errors = list(errors)
        self.headers = headers or {}


class Invalid(Problem):
    """The request was understood and cannot be carried out as it stands."""

    status = 422
    default_code = "invalid_request"

    @classmethod
    def field(cls, pointer: str, detail: str, *, code: str | None = None) -> "Invalid":
        """One wrong field, named by its RFC 6901 `pointer` into the body ("" is the whole)."""
        return cls(detail, code=code, errors=[ProblemError(pointer=pointer, detail=detail)])

    @classmethod
    def fields(cls, errors: Sequence[ProblemError]) -> "Invalid":
        """Several wrong fields, one or more; the first one is told in the sentence."""
        first = errors[0]
        detail = f"{first.pointer}: {first.detail}" if first.pointer else first.detail
        if len(errors) > 1:
            detail += f" ({len(errors) - 1} more in errors.)"
        return cls(detail, errors=errors)


class IdempotencyConflict(Invalid):
    """An Idempotency-Key names one request; this one differs from the one it came with first."""

    default_code = "idempotency_key_reused"


class BadRequest(Problem):
    """The request cannot be read."""

    status = 400
    default_code = "bad_request"


class Unauthorized(Problem):
    """The bearer token is missing or wrong."""

    status = 401
    default_code = "unauthorized"


class Forbidden(Problem):
    """The secret does not open this, or no longer."""

    status = 403
    default_code = "forbidden"


class NotFound(Problem):
    """Nothing has this name."""

    status = 404
    default_code = "not_found"


class Conflict(Problem):
    """The thing exists, and its state forbids what was asked."""

    status = 409
    default_code = "conflict"


class TooLarge(Problem):
    """More bytes than the service was told to take."""

    status = 413
    default_code = "too_large"


class UnsupportedMedia(Problem):
    """The body's format is not one that this resource reads."""

    status = 415
    default_code = "unsupported_media_type"


class Misdirected(Problem):
    """The request names a host that does not mean this service."""

    status = 421
    default_code = "unknown_host"


class TooManyGuesses(Problem):
    """Wrong tokens came from this address, faster than a person types them."""

    status = 429
    default_code = "too_many_guesses"


class Unavailable(Problem):
    """The service cannot do this now, and may later."""

    status = 503
    default_code = "unavailable"


class InsufficientStorage(Problem):
    """There is no room on the disk."""

    status = 507
    default_code = "disk_full"
