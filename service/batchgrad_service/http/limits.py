"""How long the body of each request may be."""

from collections.abc import Callable
from typing import NamedTuple

from starlette.types import Scope

from batchgrad_service.settings import Settings

MAX_SPEC_CHARACTERS = 100_000
"""Of the text in the form that submits a job."""

_ARCHIVE_OVERHEAD_BYTES = 2**20  # a stored npz is its arrays, headers and directory
_SMALL_BYTES = 2**14  # the login, and bodies that nobody reads
_SUBMIT_BYTES = 12 * MAX_SPEC_CHARACTERS + _SMALL_BYTES  # %XX for each of four bytes of UTF-8
_JSON = {"/v1/jobs", "/v1/plans", "/v1/gradients"}


class Limit(NamedTuple):
    """The most bytes of a body, and what helps who has more."""

    bytes: int
    remedy: str


def body_limits(settings: Settings) -> Callable[[Scope], Limit]:
    """What says a request's limit, from its method and path."""
    dataset = Limit(
        settings.max_dataset_bytes + _ARCHIVE_OVERHEAD_BYTES,
        "send fewer examples, or raise max_dataset_bytes",
    )
    request = Limit(settings.max_request_bytes, "send less, or raise max_request_bytes")
    submit = Limit(_SUBMIT_BYTES, "send a shorter text, or use `batchgrad submit`")
    small = Limit(_SMALL_BYTES, "send less")

    def limit(scope: Scope) -> Limit:
        path = scope["path"]
        if scope["method"] == "PUT" and path.startswith("/v1/datasets/"):
            return dataset
        if path in _JSON:
            return request
        return submit if path == "/submit" else small

    return limit
