"""The network and its loss, as a client writes them: layer kinds are PyTorch's, in lower case."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Wire(BaseModel):
    """What travels: unknown keys are a mistake, numbers are finite, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Linear(Wire):
    """z = a Wᵀ + b, weight (out_features, in_features); initialised as torch.nn.Linear."""

    kind: Literal["linear"]
    out_features: int = Field(ge=1, le=2**20)
    bias: bool = True


class Flatten(Wire):
    """Every example becomes one vector."""

    kind: Literal["flatten"]


class Identity(Wire):
    """z = a."""

    kind: Literal["identity"]


class Relu(Wire):
    """max(a, 0); the derivative at 0 is 0."""

    kind: Literal["relu"]


class LeakyRelu(Wire):
    """a where a > 0, else negative_slope · a."""

    kind: Literal["leaky_relu"]
    negative_slope: float = Field(default=0.01, ge=0)


class Tanh(Wire):
    """tanh a."""

    kind: Literal["tanh"]


class Sigmoid(Wire):
    """1 / (1 + e^-a)."""

    kind: Literal["sigmoid"]


class Gelu(Wire):
    """a Φ(a), exact (by erf), not the tanh approximation."""

    kind: Literal["gelu"]


class Silu(Wire):
    """a σ(a)."""

    kind: Literal["silu"]


class Softplus(Wire):
    """log(1 + e^a)."""

    kind: Literal["softplus"]


class Elu(Wire):
    """a where a > 0, else alpha (e^a - 1)."""

    kind: Literal["elu"]
    alpha: float = Field(default=1.0, gt=0)


AnyLayer = (
    Linear | Flatten | Identity | Relu | LeakyRelu | Tanh | Sigmoid | Gelu | Silu | Softplus | Elu
)


def _refuse_mixing(layer: Any) -> Any:
    kind = layer.get("kind") if isinstance(layer, dict) else None
    if isinstance(kind, str) and kind.startswith(("batch_norm", "batchnorm", "sync_batch_norm")):
        raise PydanticCustomError(
            "mixes_examples",
            "{kind} mixes the examples of a minibatch, so no example has a gradient of its own; "
            "remove it, or normalise per example instead.",
            {"kind": kind},
        )
    return layer


Layer = Annotated[Annotated[AnyLayer, Field(discriminator="kind")], BeforeValidator(_refuse_mixing)]

Loss = Literal[
    "squared_error",
    "absolute_error",
    "huber",
    "linear_error",
    "softmax_cross_entropy",
    "sigmoid_cross_entropy",
]
Precision = Literal["float32", "float64"]
ShortcutName = Literal["averaged_error", "mean_example", "mean_of_means"]
SHORTCUT_NAMES: tuple[ShortcutName, ...] = ("averaged_error", "mean_example", "mean_of_means")


class Model(Wire):
    """Layers in order; layer k's parameters are named "k.weight" and "k.bias"."""

    layers: list[Layer] = Field(min_length=1, max_length=256)
