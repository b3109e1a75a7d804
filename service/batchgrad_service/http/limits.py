"""Limit the length of each request's body, by method and path."""

import re
from collections.abc import Callable
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from batchgrad_service.http.json_bodies import is_json
from batchgrad_service.problems import TooLargeError
from batchgrad_service.settings import Settings

MAX_SPEC_CHARACTERS = 100_000
"""Of the text in the form that submits a job."""

_ARCHIVE_OVERHEAD_BYTES = 2**20  # a stored npz is its arrays, headers and directory
_SMALL_BYTES = 2**14  # the login, and routes that do not read a body
_SUBMIT_BYTES = 12 * MAX_SPEC_CHARACTERS + _SMALL_BYTES  # %XX for each of four bytes of UTF-8
_PREDICTIONS = re.compile(r"/v1/jobs/[^/]+/predictions")
_SUBMIT_PATHS = {"/submit", "/submit/draft", "/submit/plan", "/submit/completions"}
_JSON_PATHS = {"/v1/jobs", "/v1/plans", "/v1/gradients"}


class BodyLimit(NamedTuple):
    """The maximum length of a body, and what to do with a longer one."""

    bytes: int
    remedy: str

    def error(self) -> TooLargeError:
        """The error for a longer body."""
        return TooLargeError(
            f"The body is longer than {self.bytes} bytes, the limit of this route: {self.remedy}.",
            headers={"Connection": "close"},
        )


def body_limits(settings: Settings) -> Callable[[Scope], BodyLimit]:
    """A function that returns a request's limit."""
    dataset = BodyLimit(
        settings.max_dataset_bytes + _ARCHIVE_OVERHEAD_BYTES,
        "send fewer examples, or raise max_dataset_bytes",
    )
    request = BodyLimit(
        settings.max_request_bytes, "send a smaller request, or raise max_request_bytes"
    )
    submit = BodyLimit(_SUBMIT_BYTES, "send a shorter text, or use `batchgrad submit`")
    small = BodyLimit(_SMALL_BYTES, "send a smaller request")

    def limit(scope: Scope) -> BodyLimit:
        path = scope["path"]
        if scope["method"] == "PUT" and path.startswith("/v1/datasets/"):
            return request if is_json(Headers(scope=scope).get("content-type", "")) else dataset
        if scope["method"] == "PATCH" and path.startswith("/v1/uploads/"):
            return dataset
        if path in _JSON_PATHS or _PREDICTIONS.fullmatch(path):
            return request
        return submit if path in _SUBMIT_PATHS else small

    return limit


def limited(receive: Receive, limit: BodyLimit) -> Receive:
    """`receive`, which raises a 413 as soon as the body exceeds `limit`."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit.bytes:
            # Starlette's own class: FastAPI, which reads the body, passes on no other exception.
            raise HTTPException(413, limit.error().detail)
        return message

    return receive_limited
