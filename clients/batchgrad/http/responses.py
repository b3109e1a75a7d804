"""Decode HTTP answers into values of the contract, or into errors."""

from typing import TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from batchgrad.contract import ProblemDetails
from batchgrad.errors import ApiError, SentRequest, UnexpectedAnswer, api_error_type
from batchgrad.user_warnings import warn_user
from batchgrad.version import __version__

ORIGIN = "batchgrad_origin"
"""The extension of a response that holds the `Origin` of its answer."""

Answered = TypeVar("Answered", bound=BaseModel)


def decode(kind: type[Answered], response: httpx2.Response) -> Answered:
    """The answer's body as a value of the contract."""
    return decode_text(kind, response.content, response)


def decode_text(kind: type[Answered], text: str | bytes, response: httpx2.Response) -> Answered:
    """A part of an answer, such as an event, as a value of the contract."""
    try:
        return kind.model_validate_json(text, context=response.extensions.get(ORIGIN))
    except ValidationError as error:
        request = sent(response.request)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise UnexpectedAnswer(
            f"{request} answered {response.status_code}, but not a valid {kind.__name__} ({where}: "
            f"{first['msg']}). Is this a batchgrad service of a version near {__version__}?",
            request=request,
        ) from error


def refusal(response: httpx2.Response) -> ApiError:
    """The error for an answer of 400 or more."""
    status = response.status_code
    try:
        problem = ProblemDetails.model_validate_json(response.content)
    except ValidationError:  # a proxy's own page, for instance
        excerpt = " ".join(response.text.split())[:300]
        problem = ProblemDetails(
            title=response.reason_phrase,
            status=status,
            code="no_problem_document",
            detail=f"HTTP {status} {response.reason_phrase}" + (f": {excerpt}" if excerpt else ""),
        )
    return api_error_type(status)(problem, status=status, request=sent(response.request))


def warn(response: httpx2.Response) -> None:
    """A UserWarning with the text of the answer's Warning header, at the line of the user's."""
    if warned := response.headers.get("Warning"):
        warn_user(warned.split('"')[1] if '"' in warned else warned)


def sent(request: httpx2.Request) -> SentRequest:
    """A request as errors carry it."""
    return SentRequest(request.method, str(request.url))
