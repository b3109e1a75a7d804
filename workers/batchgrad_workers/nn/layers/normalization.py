"""Layer and group norm: numbers scaled to mean 0 and deviation 1, then multiplied and shifted."""

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
        normalized, _ = normalize(inputs, self.eps)
        return normalized * parameters["weight"] + parameters["bias"]

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """From e = γ ∘ δ, the error at x."""
        del outputs
        normalized, scale = normalize(inputs, self.eps)
        scaled = error * parameters["weight"]
        return normalize_vjp(scaled, normalized, scale)

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        """γ: Σ_t δ_nt ∘ x_nt, β: Σ_t δ_nt."""
        normalized, _ = normalize(inputs, self.eps)
        shape = (len(inputs), -1, self.input_shape[-1])
        return {
            "weight": position_sums((error * normalized).reshape(shape)),
            "bias": position_sums(error.reshape(shape)),
        }


@dataclass(frozen=True)
class GroupNorm(BaseLayer):
    """As layer norm, over a group's channels and all places; γ and β per channel (Wu, He 2018)."""

    input_shape: Shape
    num_groups: int
    eps: float

    @property
    def output_shape(self) -> Shape:
        return self.input_shape

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        channels = self.input_shape[0]
        return {"weight": (channels,), "bias": (channels,)}

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        """γ = 1, β = 0."""
        del random
        channels = self.input_shape[0]
        return {"weight": np.ones(channels), "bias": np.zeros(channels)}

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        """γ ∘ x + β."""
        normalized, _ = self._normalize(inputs)
        outputs = self._channels(normalized) * parameters["weight"][:, None]
        outputs += parameters["bias"][:, None]
        return outputs.reshape(inputs.shape)

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """From e = γ ∘ δ, the error at x.

        A group's errors sum to 0, which a bias below adds up: so does their rounding.
        """
        del outputs
        normalized, scale = self._normalize(inputs)
        scaled = self._channels(error) * parameters["weight"][:, None]
        below = normalize_vjp(scaled.reshape(normalized.shape), normalized, scale)
        below -= below.mean(axis=-1, keepdims=True)
        return below.reshape(inputs.shape)

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        """γ: Σ_t δ_nt ∘ x_nt, β: Σ_t δ_nt, over places t."""
        normalized, _ = self._normalize(inputs)
        delta = self._channels(error)
        return {
            "weight": position_sums((delta * self._channels(normalized)).swapaxes(1, 2)),
            "bias": position_sums(delta.swapaxes(1, 2)),
        }

    def _normalize(self, inputs: Array) -> tuple[Array, Array]:
        """As `normalize`: x is (n, groups, numbers of a group)."""
        return normalize(inputs.reshape(len(inputs), self.num_groups, -1), self.eps)

    def _channels(self, array: Array) -> Array:
        """(n, channels, places)."""
        return array.reshape(len(array), self.input_shape[0], -1)


def normalize_vjp(error: Array, normalized: Array, scale: Array) -> Array:
    """(e - mean e - x mean(e ∘ x)) / √(var a + eps), from the error e at x (n, …, i)."""
    projection = (error * normalized).mean(axis=-1, keepdims=True)
    return (error - error.mean(axis=-1, keepdims=True) - normalized * projection) * scale


def normalize(inputs: Array, eps: float) -> tuple[Array, Array]:
    """Return x (n, …, i), and 1 / √(var a + eps).

    Rows are centred twice, since a mean is rounded: equal numbers become exactly 0. If that is
    not enough, or squares are out of range, a row is first divided by its largest number.
    """
    mean = inputs.mean(axis=-1, keepdims=True)
    centred = inputs - mean
    centred -= centred.mean(axis=-1, keepdims=True)
    variance = np.vecdot(centred, centred)[..., None] / inputs.dtype.type(inputs.shape[-1])
    variance += inputs.dtype.type(eps)
    scale = 1 / np.sqrt(variance)
    normalized = centred * scale
    doubt = np.square(mean * (1e4 * np.finfo(inputs.dtype).eps ** 2)) + least(inputs.dtype)
    unsure = ~((variance >= doubt) & np.isfinite(variance))[..., 0]
    if unsure.any():
        normalized[unsure], scale[unsure] = _scaled(inputs[unsure].astype(np.float64), eps)
    return normalized, scale


def _scaled(rows: Floats, eps: float) -> tuple[Floats, Floats]:
    """The same for rows (m, i), from a and √eps divided by the largest number."""
    root = sqrt(eps)
    size = np.maximum(np.abs(rows).max(axis=-1, keepdims=True), root)
    centred = rows / size
    centred -= centred.mean(axis=-1, keepdims=True)
    centred -= centred.mean(axis=-1, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True))
    deviation = np.hypot(spread, root / size)
    return centred / deviation, 1 / deviation / size
