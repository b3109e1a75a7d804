"""JSON bodies of requests, read into what they should be; a key that stands twice is a mistake."""

from json import JSONDecodeError
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from batchgrad.parsing.documents import SyntaxFault, parse_json
from batchgrad.parsing.validation import field_errors
from batchgrad_service.problems import BadRequestError, InvalidError

Body = TypeVar("Body", bound=BaseModel)


def read_body(kind: type[Body], content: bytes) -> Body:
    """`content` as a `kind`.

    Raises:
        BadRequestError: it is no JSON.
        InvalidError: fields are wrong, each named by its pointer.
    """
    data = _parsed(content) if content else None
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        findings = [
            {**found, "loc": ("body", *found["loc"])} for found in error.errors(include_url=False)
        ]
    raise InvalidError.fields(field_errors(findings, data, kind))


def _parsed(content: bytes) -> Any:
    try:
        return parse_json(content)
    except SyntaxFault as fault:
        if not isinstance(fault.__cause__, JSONDecodeError):
            raise BadRequestError(f"The body {fault}.") from None
        error = fault.__cause__
    raise BadRequestError(
        f"The body is not JSON: {error.msg} at character {error.pos}.", code="not_json"
    )
