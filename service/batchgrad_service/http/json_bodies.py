"""JSON bodies of requests: described for OpenAPI, parsed and validated."""

from json import JSONDecodeError
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from batchgrad.parsing.documents import SyntaxFault, parse_json
from batchgrad.parsing.validation import field_errors
from batchgrad_service.problems import BadRequestError, InvalidError

SCHEMA_REFERENCE = "#/components/schemas/{model}"

Body = TypeVar("Body", bound=BaseModel)


def is_json(content_type: str) -> bool:
    """Whether a Content-Type header is that of JSON."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def json_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """OpenAPI's requestBody for a route that reads its body itself; `app.py` adds the schema."""
    schema = {"$ref": SCHEMA_REFERENCE.format(model=model.__name__)}
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": required, "content": content}}


def read_body(model: type[Body], content: bytes) -> Body:
    """`content` as a `model`.

    Raises:
        BadRequestError: the content is not JSON, or has a key twice.
        InvalidError: fields are invalid, each named by its pointer.
    """
    data = _parsed(content) if content else None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        findings = [
            {**found, "loc": ("body", *found["loc"])} for found in error.errors(include_url=False)
        ]
    raise InvalidError.fields(field_errors(findings, data, model))


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
