"""The base class of requests, and number types without conversions."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Strict, model_validator

Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Truth = Annotated[bool, Strict()]
"""Types are not converted: true is not 1, "3" is not 3, "yes" is not true."""


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
