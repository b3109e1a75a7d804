"""The model of a job: layers, or the name of a function that builds a PyTorch task."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from batchgrad.contract.model import MOST_LAYERS, Layer, Model
from batchgrad.contract.wire import Sha256

__all__ = ["JobModel"]

FunctionName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$", max_length=256),
]

MOST_CONFIG = 2**16
"""Most bytes of a configuration, as JSON."""


class JobModel(Model):
    """The model of a job; give exactly one of layers and torch.

    `torch` names a function "package.module:function" that the nodes can import; it gets `config`
    and returns a batchgrad.torch Task. `code` is the SHA-256 of an uploaded wheel or zip to import
    it from.
    """

    layers: list[Layer] = Field(default_factory=list, max_length=MOST_LAYERS)
    torch: FunctionName | None = Field(
        default=None, description="package.module:function, which builds a PyTorch task"
    )
    config: dict[str, Any] = Field(
        default_factory=dict, description="the argument of the function that torch names"
    )
    code: Sha256 | None = Field(
        default=None, description="of an uploaded wheel or zip that holds the package"
    )
    autocast: Literal["bfloat16"] | None = Field(
        default=None,
        description="of the forward pass, as torch.autocast's; sums and norms are in `precision`",
    )

    @property
    def package(self) -> str:
        """The top package of the function that `torch` names; "" of layers."""
        return (self.torch or "").partition(":")[0].partition(".")[0]

    @model_validator(mode="after")
    def _layers_or_torch(self) -> Self:
        if self.torch is None and self.model_fields_set - {"layers"}:
            given = ", ".join(sorted(self.model_fields_set - {"layers"}))
            raise ValueError(f"got {given} without torch: add torch, or remove it.")
        if self.torch is None and not self.layers:
            raise ValueError("got neither layers nor torch: give exactly one.")
        if self.torch is not None and self.layers:
            raise ValueError("got both of layers and torch: give exactly one.")
        size = len(json.dumps(self.config))
        if size > MOST_CONFIG:
            raise ValueError(
                f"config has {size} bytes as JSON, at most {MOST_CONFIG} are allowed: put what is "
                "large into the package or into the dataset."
            )
        return self

    @model_serializer(mode="wrap")
    def _without_the_other_kind(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        if self.torch is None:
            return {key: value for key, value in found.items() if key == "layers"}
        return {key: value for key, value in found.items() if key != "layers"}


def _widened(value: Any) -> Any:
    """Take a Model, which has layers, for a JobModel."""
    if isinstance(value, Model) and not isinstance(value, JobModel):
        return {"layers": value.layers}
    return value


AnyModel = Annotated[JobModel, BeforeValidator(_widened)]
