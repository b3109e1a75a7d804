"""Layer norm: every position brought to mean 0 and deviation 1, then scaled and shifted."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.layers.products import squared
from batchgrad_workers.layers.protocol import Parameters, Plain


@dataclass(frozen=True)
class LayerNorm(Plain):
    """z = γ ∘ x + β with x = (a - mean a) / √(var a + eps), over the last axis (Ba et al. 2016)."""

    input_shape: Shape
    eps: float

    @property
    def output_shape(self) -> Shape:
        return self.input_shape

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        width = self.input_shape[-1]
        return {"weight": (width,), "bias": (width,)}

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        """γ = 1, β = 0."""
        del random
        width = self.input_shape[-1]
        return {"weight": np.ones(width), "bias": np.zeros(width)}

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        normalized, _ = self._normalize(inputs)
        return normalized * parameters["weight"] + parameters["bias"]

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """(e - mean e - x mean(e ∘ x)) / √(var a + eps), with e = γ ∘ δ."""
        del outputs
        normalized, scale = self._normalize(inputs)
        scaled = error * parameters["weight"]
        projection = (scaled * normalized).mean(axis=-1, keepdims=True)
        return (scaled - scaled.mean(axis=-1, keepdims=True) - normalized * projection) * scale

    def gradient_sums(self, inputs: Array, error: Array, weights: Array, into: Parameters) -> Array:
        each = self.each_gradient(inputs, error)
        for name, gradients in each.items():
            np.matmul(weights, gradients, out=into[name])
        return squared(each["weight"]) + squared(each["bias"])

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        """γ: Σ_t δ ∘ x, β: Σ_t δ; as small as the input, so they are formed."""
        normalized, _ = self._normalize(inputs)
        shape = (len(inputs), -1, self.input_shape[-1])
        return {
            "weight": (error * normalized).reshape(shape).sum(axis=1),
            "bias": error.reshape(shape).sum(axis=1),
        }

    def _normalize(self, inputs: Array) -> tuple[Array, Array]:
        """x, and 1 / √(var a + eps)."""
        centred = inputs - inputs.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        scale = 1 / np.sqrt(variance + inputs.dtype.type(self.eps))
        return centred * scale, scale
