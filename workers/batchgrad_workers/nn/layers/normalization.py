"""Layer norm: every position scaled to mean 0 and deviation 1, then multiplied and shifted."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Shape
from batchgrad_workers.nn.kernels.norms import least
from batchgrad_workers.nn.layers.base import BaseLayer, Parameters
from batchgrad_workers.nn.layers.outer_products import position_sums


@dataclass(frozen=True)
class LayerNorm(BaseLayer):
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
        """γ ∘ x + β."""
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

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        """γ: Σ_t δ_nt ∘ x_nt, β: Σ_t δ_nt."""
        normalized, _ = self._normalize(inputs)
        shape = (len(inputs), -1, self.input_shape[-1])
        return {
            "weight": position_sums((error * normalized).reshape(shape)),
            "bias": position_sums(error.reshape(shape)),
        }

    def _normalize(self, inputs: Array) -> tuple[Array, Array]:
        """x, and 1 / √(var a + eps).

        Rows are centred twice, since a mean is rounded: equal numbers become exactly 0. If that is
        not enough, or squares are out of range, a row is first divided by its largest number.
        """
        mean = inputs.mean(axis=-1, keepdims=True)
        centred = inputs - mean
        centred -= centred.mean(axis=-1, keepdims=True)
        variance = np.vecdot(centred, centred)[..., None] / inputs.dtype.type(inputs.shape[-1])
        variance += inputs.dtype.type(self.eps)
        scale = 1 / np.sqrt(variance)
        normalized = centred * scale
        doubt = np.square(mean * (1e4 * np.finfo(inputs.dtype).eps ** 2)) + least(inputs.dtype)
        unsure = ~((variance >= doubt) & np.isfinite(variance))[..., 0]
        if unsure.any():
            normalized[unsure], scale[unsure] = self._scaled(inputs[unsure].astype(np.float64))
        return normalized, scale

    def _scaled(self, rows: Floats) -> tuple[Floats, Floats]:
        """The same for rows (m, i), from a and √eps divided by the largest number."""
        root = sqrt(self.eps)
        size = np.maximum(np.abs(rows).max(axis=-1, keepdims=True), root)
        centred = rows / size
        centred -= centred.mean(axis=-1, keepdims=True)
        centred -= centred.mean(axis=-1, keepdims=True)
        spread = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True))
        deviation = np.hypot(spread, root / size)
        return centred / deviation, 1 / deviation / size
