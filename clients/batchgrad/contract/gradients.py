"""POST /v1/gradients: the gradient of one minibatch, and each shortcut's error."""

from typing import Any, Self

from pydantic import Field, model_validator

from batchgrad.contract.losses import Loss, check_label_smoothing
from batchgrad.contract.model import Model, Precision
from batchgrad.contract.views import LayeredShortcut
from batchgrad.contract.wire import Answer, Integer, Number, Truth, Wire

__all__ = [
    "Array",
    "Depth",
    "GradientShortcut",
    "GradientsRequest",
    "GradientsResponse",
    "NoiseScale",
]

Array = list[Any]
"""Nested JSON lists of numbers; checked for shape and finiteness by the service."""


class GradientsRequest(Wire):
    """One minibatch and one network; `seed` gives the parameters if they are missing."""

    model: Model
    loss: Loss
    inputs: Array = Field(min_length=1, description="(n, …)")
    targets: Array = Field(
        min_length=1,
        description="classes (n,) or their probabilities (n, out); values (n,) or (n, out)",
    )
    weights: Array | None = Field(
        default=None,
        description="(n,), at least 0, not all 0; ratios count, a row of weight 0 does not",
    )
    parameters: dict[str, Array] | None = Field(
        default=None, description="{0.weight: …, 0.bias: …}; else drawn from seed"
    )
    seed: Integer = Field(default=0, ge=0, lt=2**63)
    precision: Precision = "float64"
    microbatch_size: Integer | None = Field(default=None, ge=1, le=2**20)
    per_example: Truth = Field(
        default=False, description="whether to answer each example's gradient too"
    )
    label_smoothing: Number = Field(
        default=0.0, ge=0, lt=1, description="of softmax_cross_entropy, as in a job"
    )

    @model_validator(mode="after")
    def _smoothed_labels_are_classes(self) -> Self:
        check_label_smoothing(self.loss, self.label_smoothing)
        return self


class GradientShortcut(LayeredShortcut):
    """A shortcut with the gradient it gives."""

    gradient: dict[str, Array]


class Depth(Answer):
    """Relative error of the whole gradient when averaging starts at this layer's output."""

    name: str
    relative_error: float | None


class NoiseScale(Answer):
    """McCandlish et al. 2018, equations 2.7 to 2.9; null where undetermined."""

    trace: float | None
    signal: float | None
    simple: float | None


class GradientsResponse(Answer):
    """Exact mean gradient, what each shortcut makes of it, and every example's norm.

    A row of weight 0 counts for nothing but `examples`; its norm is null where it is not finite.
    """

    loss: float
    examples: int
    mean_gradient: dict[str, Array]
    norms: list[float | None]
    per_example: list[dict[str, Array]] | None = None
    shortcuts: dict[str, GradientShortcut]
    depths: list[Depth]
    noise_scale: NoiseScale
