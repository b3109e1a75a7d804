"""Layers, and what each knows of its per-example gradients.

Symbols, used everywhere in this package: n example · i input · o output · a layer input (n, …) ·
z layer output (n, …) · δ error ∂ℓ_n/∂z_n at the layer's output, for each example's own loss,
never divided by N · w example weight · g_n per-example gradient.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np

from batchgrad import contract
from batchgrad_workers import activations
from batchgrad_workers.activations import Activation
from batchgrad_workers.arrays import Array, Shape

Parameters = Mapping[str, Array]
"""One layer's parameters, or their gradients, by local name ("weight", "bias")."""


class ShapeMismatch(ValueError):
    """A layer can't take what the layer below gives."""


class Layer(Protocol):
    """One layer of a network on inputs of a known shape (without the axis of examples)."""

    @property
    def output_shape(self) -> Shape:
        """Shape of one example's output."""

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        """Shapes by local name, in PyTorch's order; empty for a layer that learns nothing."""

    def initial_bound(self) -> float:
        """PyTorch's default start: parameters are uniform in (-bound, bound)."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        """Outputs z from inputs a."""

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """Error at the layer's input from the error δ at its output."""

    def gradient_sum(self, inputs: Array, weighted_error: Array, into: Parameters) -> None:
        """Write Σ_n w_n g_n into the given arrays, from a and w_n δ_n."""

    def squared_norms(self, inputs: Array, error: Array) -> Array:
        """‖g_n‖² over this layer's parameters (n,), without forming any g_n."""

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        """g_n themselves, (n, *parameter shape): for a few examples only."""


@dataclass(frozen=True)
class Linear:
    """z_no = Σ_i W_oi a_ni + b_o."""

    in_features: int
    out_features: int
    bias: bool

    @property
    def output_shape(self) -> Shape:
        return (self.out_features,)

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"weight": (self.out_features, self.in_features)}
        if self.bias:
            shapes["bias"] = (self.out_features,)
        return shapes

    def initial_bound(self) -> float:
        """1/√in, for weight and bias alike (torch.nn.Linear.reset_parameters)."""
        return float(1.0 / np.sqrt(self.in_features))

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        outputs = inputs @ parameters["weight"].T
        if self.bias:
            outputs += parameters["bias"]
        return outputs

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """Σ_o δ_no W_oi."""
        del inputs, outputs
        return error @ parameters["weight"]

    def gradient_sum(self, inputs: Array, weighted_error: Array, into: Parameters) -> None:
        """weight_oi = Σ_n w_n δ_no a_ni, bias_o = Σ_n w_n δ_no."""
        np.matmul(weighted_error.T, inputs, out=into["weight"])
        if self.bias:
            np.sum(weighted_error, axis=0, out=into["bias"])

    def squared_norms(self, inputs: Array, error: Array) -> Array:
        """‖δ_n‖² (‖a_n‖² + 1), the 1 for the bias (Goodfellow 2015)."""
        input_part = np.einsum("ni,ni->n", inputs, inputs)
        if self.bias:
            input_part += 1
        return np.einsum("no,no->n", error, error) * input_part

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        weight = {"weight": np.einsum("no,ni->noi", error, inputs)}
        return {**weight, "bias": error.copy()} if self.bias else weight


class _Parameterless:
    """What a layer without parameters answers."""

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        return {}

    def initial_bound(self) -> float:
        return 0.0

    def gradient_sum(self, inputs: Array, weighted_error: Array, into: Parameters) -> None:
        """Nothing to write."""

    def squared_norms(self, inputs: Array, error: Array) -> Array:
        del error
        return np.zeros(len(inputs), inputs.dtype)

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        del inputs, error
        return {}


@dataclass(frozen=True)
class Flatten(_Parameterless):
    """Every example as one vector."""

    input_shape: Shape

    @property
    def output_shape(self) -> Shape:
        return (prod(self.input_shape),)

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        return inputs.reshape(len(inputs), -1)

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters, outputs
        return error.reshape(inputs.shape)


@dataclass(frozen=True)
class Elementwise(_Parameterless):
    """An activation."""

    input_shape: Shape
    activation: Activation

    @property
    def output_shape(self) -> Shape:
        return self.input_shape

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        return self.activation.forward(inputs)

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters
        return self.activation.backward(error, inputs, outputs)


def build_layer(spec: contract.Layer, input_shape: Shape) -> Layer:
    """The layer that `spec` describes, on inputs of this shape.

    Raises:
        ShapeMismatch: the layer can't take such inputs.
    """
    match spec:
        case contract.Linear(out_features=out_features, bias=bias):
            if len(input_shape) != 1:
                raise ShapeMismatch(
                    f"linear takes one vector per example, got shape {list(input_shape)}: "
                    "put a flatten layer before it."
                )
            return Linear(input_shape[0], out_features, bias)
        case contract.Flatten():
            return Flatten(input_shape)
        case _:
            return Elementwise(input_shape, _activation(spec))


def _activation(spec: contract.Layer) -> Activation:
    match spec:
        case contract.LeakyRelu(negative_slope=slope):
            return activations.leaky_relu(slope)
        case contract.Elu(alpha=alpha):
            return activations.elu(alpha)
        case _:
            return _ACTIVATIONS[spec.kind]


_ACTIVATIONS = {
    "identity": activations.identity(),
    "relu": activations.relu(),
    "tanh": activations.tanh(),
    "sigmoid": activations.sigmoid(),
    "gelu": activations.gelu(),
    "silu": activations.silu(),
    "softplus": activations.softplus(),
}
