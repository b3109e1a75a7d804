"""The linear layer, on vectors or on the last axis of anything longer."""

from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Shape
from batchgrad_workers.nn.kernels.gradients import linear_norms, linear_sums
from batchgrad_workers.nn.layers.base import BaseLayer, Parameters, SumBuffers
from batchgrad_workers.nn.layers.bounds import Bounded, sum_bounds
from batchgrad_workers.nn.layers.outer_products import (
    bias_sums,
    outer_bounds,
    position_sums,
    weight_sums,
    weighted_outer,
)


@dataclass(frozen=True)
class Linear(BaseLayer):
    """z_nto = Σ_i W_oi a_nti + b_o; vectors have no t."""

    input_shape: Shape
    out_features: int
    bias: bool

    @property
    def in_features(self) -> int:
        """Numbers at each position."""
        return self.input_shape[-1]

    @property
    def output_shape(self) -> Shape:
        return (*self.input_shape[:-1], self.out_features)

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"weight": (self.out_features, self.in_features)}
        if self.bias:
            shapes["bias"] = (self.out_features,)
        return shapes

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        """Uniform within 1/√in, weight and bias alike (torch.nn.Linear.reset_parameters)."""
        bound = 1.0 / sqrt(self.in_features)
        return {
            name: random.uniform(-bound, bound, shape)
            for name, shape in self.parameter_shapes.items()
        }

    @property
    def workspace(self) -> int:
        return 0

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        """Σ_i W_oi a_nti + b_o."""
        outputs = inputs @ parameters["weight"].T
        if self.bias:
            outputs += parameters["bias"]
        return outputs

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """Σ_o δ_nto W_oi."""
        del inputs, outputs
        return error @ parameters["weight"]

    def gradient_sums(self, inputs: Array, error: Array, weights: Array, out: Parameters) -> Floats:
        if len(self.input_shape) == 1:
            norms = np.zeros(len(weights))
            self.sums(inputs, error, weights, out, None, norms)
            return norms
        inputs, error = self._positions(inputs), self._positions(error)
        norms = weight_sums(inputs, error, weights, out["weight"])
        if self.bias:
            norms += bias_sums(error, weights, out["bias"])
        return norms

    def bounded(self, inputs: Array, error: Array, weights: Array, rows: int) -> Bounded:
        """Without positions, of single rows ‖δ_n‖² (‖a_n‖² + 1), in which nothing cancels.

        With positions the bias is apart: its g_n are formed.
        """
        inputs, error = self._positions(inputs), self._positions(error)
        error_sums = position_sums(error)
        if rows == 1 and inputs.shape[1] == 1:
            squares = np.zeros(len(error))
            linear_norms(inputs[:, 0], error_sums, self.bias, squares)
        else:
            weighted = error if rows == 1 else error * weights[:, None, None]
            squares = outer_bounds(_long(inputs, rows), _long(weighted, rows))
            if self.bias:
                squares += sum_bounds(error_sums, weights, rows)

        def write(factors: Array, out: Parameters) -> None:
            weighted_outer(inputs, error, factors, out["weight"])
            if self.bias:
                np.matmul(factors, error_sums, out=out["bias"])

        return Bounded(squares, write)

    def sums(
        self,
        inputs: Array,
        error: Array,
        weights: Array,
        out: Parameters,
        means: SumBuffers | None,
        norms: Floats,
    ) -> None:
        """Without positions ‖δ_n‖² (‖a_n‖² + 1), the 1 for the bias (Goodfellow 2015)."""
        if len(self.input_shape) > 1:
            super().sums(inputs, error, weights, out, means, norms)
            return
        weighted = np.empty_like(error)
        error_sum = out["bias"] if self.bias else np.empty_like(error[0])
        input_sum = means.inputs if means else error_sum[:0]
        linear_sums(
            inputs, error[:0], weights, self.bias, error, weighted, norms, error_sum, input_sum
        )
        np.matmul(weighted.T, inputs, out=out["weight"])
        if means and means.errors is not None:
            means.errors[...] = error_sum

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        """W: Σ_t δ_nto a_nti, b: Σ_t δ_nto."""
        if len(self.input_shape) == 1:
            found: dict[str, Array] = {"weight": error[:, :, None] * inputs[:, None, :]}
            return {**found, "bias": error.copy()} if self.bias else found
        inputs, error = self._positions(inputs), self._positions(error)
        found = {"weight": np.matmul(error.transpose(0, 2, 1), inputs)}
        return {**found, "bias": position_sums(error)} if self.bias else found

    def _positions(self, array: Array) -> Array:
        """(n, T, last axis), T = 1 for vectors."""
        return array.reshape(len(array), prod(self.input_shape[:-1]), array.shape[-1])


def _long(array: Array, rows: int) -> Array:
    """(n, T, numbers) with all positions of a unit's rows on one axis."""
    return array.reshape(-1, rows * array.shape[1], array.shape[2])
