"""The base of everything that travels, and numbers that are taken as they are written."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Strict, model_validator

Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Truth = Annotated[bool, Strict()]
"""true is no 1, "3" no 3, "yes" no true: what is meant is written so."""


class Wire(BaseModel):
    """What travels: unknown keys are a mistake, numbers are finite, values never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, ser_json_inf_nan="constants"
    )

    @model_validator(mode="before")
    @classmethod
    def _numpy_numbers_are_numbers(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: one.tolist() if hasattr(one, "tolist") else one for key, one in value.items()}
