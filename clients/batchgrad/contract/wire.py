"""The base classes of requests and answers, and number types without conversions."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Strict, StringConstraints, model_validator

from batchgrad.html import document

Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Truth = Annotated[bool, Strict()]
"""Types are not converted: true is not 1, "3" is not 3, "yes" is not true."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=128)]
"""A name of a job, a dataset or a label."""

SHA256_PATTERN = r"^sha256:[0-9a-f]{64}$"
Sha256 = Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]


class Wire(BaseModel):
    """A part of a request: unknown keys are errors, numbers are finite, values are constant."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, ser_json_inf_nan="constants"
    )

    @model_validator(mode="before")
    @classmethod
    def _numpy_numbers_are_numbers(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: one.tolist() if hasattr(one, "tolist") else one for key, one in value.items()}


def exactly_one(value: Wire, *keys: str, note: str = "") -> str:
    """Which of the keys is given; `note` ends the message.

    Raises:
        ValueError: none is, or several are.
    """
    given = [key for key in keys if getattr(value, key) is not None]
    if len(given) != 1:
        expected = f"give exactly one of {', '.join(keys)}{note}."
        raise ValueError(f"got {' and '.join(given) or 'none'}: {expected}")
    return given[0]


class Answer(BaseModel):
    """What the service sends: a newer service may add keys, an older client ignores them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def _repr_html_(self) -> str:
        """The answer as notebooks show it."""
        return document(type(self).__name__, self.model_dump(mode="json"))


@dataclass(frozen=True)
class Origin:
    """The client that gave an answer; of answers, it is neither compared, copied nor pickled."""

    client: Any = field(default=None, compare=False)

    def __reduce__(self) -> tuple[type["Origin"], tuple[()]]:
        return Origin, ()
