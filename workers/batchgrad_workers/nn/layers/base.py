"""What a network asks of a layer.

Symbols, used everywhere in this package: n example · t position · i input · o output · a layer
input (n, …) · z layer output (n, …) · δ error ∂ℓ_n/∂z_n at the layer's output, for each example's
own loss, never divided by N · w example weight · g_n per-example gradient.

Images are (n, channels, height, width), but mostly views of memory where a pixel's channels lie
side by side: what works on them keeps the order it finds.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Shape, memory_order

Parameters = Mapping[str, Array]
"""One layer's parameters, or their gradients, by local name ("weight", "bias")."""


class MeanSums(NamedTuple):
    """Room for Σ_n w_n a_n, in the shape of a mean input, and if wanted for Σ_n w_n δ_n, flat."""

    inputs: Array
    errors: Array | None


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

    @property
    def mean_shape(self) -> Shape:
        """Shape of a mean input: the input's own, or one-hot rows where inputs are ids."""

    @property
    def workspace(self) -> int:
        """Numbers that it holds at once for an example beside inputs, outputs and gradients."""

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        """Parameters as PyTorch starts them, float64."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        """Outputs z from inputs a."""

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """Error at the layer's input from the error δ at its output."""

    def gradient_sums(
        self, inputs: Array, error: Array, weights: Array, into: Parameters
    ) -> Floats:
        """Write Σ_n w_n g_n into the given arrays; ‖g_n‖² (n,) over this layer's parameters.

        From a (n, …), δ (n, …) and w (n,). A square that float64 can't hold is NaN (see `norms`).
        No N x P array is formed.
        """

    def sums(
        self,
        inputs: Array,
        error: Array,
        weights: Array,
        into: Parameters,
        means: MeanSums | None,
        norms: Floats,
    ) -> None:
        """`gradient_sums`, and the sums of `means` where those are asked for.

        ‖g_n‖² over this layer's parameters is added to `norms` (n,).
        """

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        """g_n themselves, (n, *parameter shape): for a few examples only."""

    def input_sum(self, inputs: Array, weights: Array, into: Array) -> None:
        """Write Σ_n w_n a_n, in the shape of a mean input."""


class Summed:
    """A layer's sums one after the other, for layers that don't make them in one go."""

    @property
    def workspace(self) -> int:
        return 0

    def sums(
        self: "Layer",
        inputs: Array,
        error: Array,
        weights: Array,
        into: Parameters,
        means: MeanSums | None,
        norms: Floats,
    ) -> None:
        if means:
            self.input_sum(inputs, weights, means.inputs)
            if means.errors is not None:
                weighted_sum(weights, error, means.errors)
        if into:
            norms += self.gradient_sums(inputs, error, weights, into)


class Plain(Summed):
    """What holds for layers whose inputs are numbers to be averaged as they are."""

    input_shape: Shape

    @property
    def mean_shape(self) -> Shape:
        return self.input_shape

    def input_sum(self, inputs: Array, weights: Array, into: Array) -> None:
        weighted_sum(weights, inputs, into)


class Parameterless(Plain):
    """What a layer without parameters answers."""

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        return {}

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        del random
        return {}

    def gradient_sums(
        self, inputs: Array, error: Array, weights: Array, into: Parameters
    ) -> Floats:
        del error, weights, into
        return np.zeros(len(inputs))

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        del inputs, error
        return {}


def weighted_sum(weights: Array, rows: Array, into: Array) -> None:
    """Write Σ_n w_n of the rows (n, …), read in the order in which they lie in memory."""
    if rows.flags.c_contiguous:
        np.matmul(weights, rows.reshape(len(rows), -1), out=into.reshape(-1))
        return
    order = memory_order(rows.strides[1:])
    ordered = rows.transpose(0, *(axis + 1 for axis in order))
    total = (weights @ ordered.reshape(len(rows), -1)).reshape(ordered.shape[1:])
    into.reshape(rows.shape[1:]).transpose(order)[...] = total


def by_example(weights: Array, error: Array) -> Array:
    """w_n δ_n for every example."""
    return error * weights.reshape(-1, *([1] * (error.ndim - 1)))
