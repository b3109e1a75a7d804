"""The network as a client writes it: layer kinds are PyTorch's, in lower case."""

from math import inf
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from batchgrad.contract.wire import Integer, Number, Truth, Wire

__all__ = [
    "SHORTCUT_NAMES",
    "Activation",
    "AvgPool2d",
    "Conv1d",
    "Conv2d",
    "Dropout",
    "Elu",
    "Embedding",
    "Flatten",
    "Gelu",
    "GlobalAvgPool",
    "GroupNorm",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyRelu",
    "Linear",
    "MaxPool2d",
    "Model",
    "Precision",
    "Relu",
    "Residual",
    "SequenceMean",
    "ShortcutName",
    "Sigmoid",
    "Silu",
    "Softplus",
    "SumsPrecision",
    "Tanh",
]


class Linear(Wire):
    """z = a Wᵀ + b on the last axis, weight (out_features, in_features), as torch.nn.Linear."""

    kind: Literal["linear"]
    out_features: Integer = Field(ge=1, le=2**20)
    bias: Truth = True


class Flatten(Wire):
    """Every example becomes one vector."""

    kind: Literal["flatten"]


class Dropout(Wire):
    """Training sets each number to 0 with probability p, else divides it by 1 - p.

    As torch.nn.Dropout, with a mask for each example from seed, step and row number alone. Nothing
    is dropped in evaluations, predictions, shortcuts and POST /v1/gradients.
    """

    kind: Literal["dropout"]
    p: Number = Field(default=0.5, ge=0, lt=1)


class Activation(Wire):
    """An elementwise function; every field has a default."""

    bounds: ClassVar[tuple[float, float]] = (-inf, inf)
    """The lowest and the highest output, for any fields."""

    @property
    def output_range(self) -> tuple[float, float]:
        """The lowest and the highest output."""
        return self.bounds


class Identity(Activation):
    """z = a."""

    kind: Literal["identity"]


class Relu(Activation):
    """max(a, 0); the derivative at 0 is 0."""

    kind: Literal["relu"]
    bounds = 0.0, inf


class LeakyRelu(Activation):
    """a where a > 0, else negative_slope · a."""

    kind: Literal["leaky_relu"]
    negative_slope: Number = Field(default=0.01, ge=0)

    @property
    def output_range(self) -> tuple[float, float]:
        """From 0 if nothing is left below."""
        return (-inf if self.negative_slope else 0.0), inf


class Tanh(Activation):
    """tanh a."""

    kind: Literal["tanh"]
    bounds = -1.0, 1.0


class Sigmoid(Activation):
    """1 / (1 + e^-a)."""

    kind: Literal["sigmoid"]
    bounds = 0.0, 1.0


class Gelu(Activation):
    """a Φ(a), exact (by erf), not the tanh approximation."""

    kind: Literal["gelu"]
    bounds = -0.17, inf


class Silu(Activation):
    """a σ(a)."""

    kind: Literal["silu"]
    bounds = -0.279, inf


class Softplus(Activation):
    """log(1 + e^a), everywhere: torch takes a itself above 20."""

    kind: Literal["softplus"]
    bounds = 0.0, inf


class Elu(Activation):
    """a where a > 0, else alpha (e^a - 1)."""

    kind: Literal["elu"]
    alpha: Number = Field(default=1.0, gt=0)

    @property
    def output_range(self) -> tuple[float, float]:
        """From -alpha."""
        return -self.alpha, inf


Side = Annotated[Integer, Field(ge=0, le=2**16)]
PositiveSide = Annotated[Integer, Field(ge=1, le=2**16)]
Sides = PositiveSide | tuple[PositiveSide, PositiveSide]
"""One number for both, or (height, width)."""

Paddings = Side | tuple[Side, Side]


class Conv2d(Wire):
    """As torch.nn.Conv2d on (channels, height, width), padded with zeros."""

    kind: Literal["conv2d"]
    out_channels: Integer = Field(ge=1, le=2**20)
    kernel_size: Sides
    stride: Sides = 1
    padding: Paddings = 0
    dilation: Sides = 1
    groups: Integer = Field(default=1, ge=1, le=2**20)
    bias: Truth = True


class Conv1d(Wire):
    """As torch.nn.Conv1d on (channels, length), padded with zeros."""

    kind: Literal["conv1d"]
    out_channels: Integer = Field(ge=1, le=2**20)
    kernel_size: PositiveSide
    stride: PositiveSide = 1
    padding: Side = 0
    dilation: PositiveSide = 1
    groups: Integer = Field(default=1, ge=1, le=2**20)
    bias: Truth = True


class MaxPool2d(Wire):
    """As torch.nn.MaxPool2d; of equal numbers the first gets the gradient."""

    kind: Literal["max_pool2d"]
    kernel_size: Sides
    stride: Sides | None = None
    padding: Paddings = 0


class AvgPool2d(Wire):
    """As torch.nn.AvgPool2d: padding counts as zeros."""

    kind: Literal["avg_pool2d"]
    kernel_size: Sides
    stride: Sides | None = None
    padding: Paddings = 0


class GlobalAvgPool(Wire):
    """Mean of each channel: (channels, height, width) or (channels, length) to (channels,)."""

    kind: Literal["global_avg_pool"]


class SequenceMean(Wire):
    """Mean over the positions of a sequence: (positions, width) to (width,)."""

    kind: Literal["sequence_mean"]


class LayerNorm(Wire):
    """Over the last axis, as torch.nn.LayerNorm, weight and bias included."""

    kind: Literal["layer_norm"]
    eps: Number = Field(default=1e-5, gt=0)


class GroupNorm(Wire):
    """Over groups of channels and all places, as torch.nn.GroupNorm; weight, bias per channel."""

    kind: Literal["group_norm"]
    num_groups: Integer = Field(ge=1, le=2**20)
    eps: Number = Field(default=1e-5, gt=0)


class Embedding(Wire):
    """As torch.nn.Embedding on integer ids; `padding_idx`'s row starts at 0 and has no gradient.

    Weight decay acts on that row too, which shows where initial_parameters have other than 0.
    """

    kind: Literal["embedding"]
    num_embeddings: Integer = Field(ge=1, le=2**31)
    embedding_dim: Integer = Field(ge=1, le=2**20)
    padding_idx: Integer | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _padding_is_a_row(self) -> Self:
        if self.padding_idx is not None and self.padding_idx >= self.num_embeddings:
            raise ValueError(
                f"padding_idx is {self.padding_idx}, rows are 0 to {self.num_embeddings - 1}."
            )
        return self


class Residual(Wire):
    """z = a + f(a), with f the block's layers in order, which must give the shape that they take.

    Names go on inside: in block 3 the first layer's weight is "3.0.weight".
    """

    kind: Literal["residual"]
    layers: list["Layer"] = Field(min_length=1, max_length=256)


SingleLayer = (
    Linear
    | Conv1d
    | Conv2d
    | MaxPool2d
    | AvgPool2d
    | GlobalAvgPool
    | SequenceMean
    | LayerNorm
    | GroupNorm
    | Embedding
    | Flatten
    | Dropout
    | Identity
    | Relu
    | LeakyRelu
    | Tanh
    | Sigmoid
    | Gelu
    | Silu
    | Softplus
    | Elu
)
AnyLayer = SingleLayer | Residual


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
Residual.model_rebuild()

MOST_LAYERS, MOST_DEPTH = 256, 8
"""In a model, those inside of residual blocks included; and blocks inside of each other."""

Precision = Literal["float32", "float64"]
SumsPrecision = Literal["full", "bfloat16"]
ShortcutName = Literal["averaged_error", "mean_example", "mean_of_means"]
SHORTCUT_NAMES: tuple[ShortcutName, ...] = ("averaged_error", "mean_example", "mean_of_means")


class Model(Wire):
    """Layers in order; layer k's parameters are named "k.weight" and "k.bias"."""

    layers: list[Layer] = Field(min_length=1, max_length=MOST_LAYERS)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        count, depth, blocks = 0, 0, [self.layers]
        while blocks:
            if depth > MOST_DEPTH:
                raise ValueError(
                    f"residual blocks stand more than {MOST_DEPTH} deep inside of each other: "
                    "put one after the other."
                )
            count += sum(map(len, blocks))
            inner = [one.layers for each in blocks for one in each if isinstance(one, Residual)]
            blocks, depth = inner, depth + 1
        if count > MOST_LAYERS:
            raise ValueError(
                f"got {count} layers, with those inside of residual blocks; at most {MOST_LAYERS} "
                "are allowed: use fewer."
            )
        return self
