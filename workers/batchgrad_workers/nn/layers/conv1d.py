"""One-dimensional convolution: a two-dimensional one on images of height 1."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Shape
from batchgrad_workers.nn.layers.base import BaseLayer, Parameters
from batchgrad_workers.nn.layers.bounds import Bounded
from batchgrad_workers.nn.layers.conv import Conv2d


@dataclass(frozen=True)
class Conv1d(BaseLayer):
    """`images` on inputs (n, channels, length), seen as (n, channels, 1, length)."""

    images: Conv2d

    @property
    def input_shape(self) -> Shape:  # type: ignore[override]
        channels, _, length = self.images.input_shape
        return channels, length

    @property
    def output_shape(self) -> Shape:
        channels, _, length = self.images.output_shape
        return channels, length

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        """As those of `images`, without the kernel's height."""
        shapes = dict(self.images.parameter_shapes)
        out, channels, _, width = shapes["weight"]
        return {**shapes, "weight": (out, channels, width)}

    @property
    def workspace(self) -> int:
        return self.images.workspace

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        return _named(self.images.initial(random), self.parameter_shapes)

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        return self.images.forward(parameters, inputs[:, :, None])[:, :, 0]

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        below = self.images.backward(
            parameters, inputs[:, :, None], outputs[:, :, None], error[:, :, None]
        )
        return below[:, :, 0]

    def gradient_sums(self, inputs: Array, error: Array, weights: Array, out: Parameters) -> Floats:
        return self.images.gradient_sums(inputs[:, :, None], error[:, :, None], weights, out)

    def bounded(self, inputs: Array, error: Array, weights: Array, rows: int) -> Bounded:
        return self.images.bounded(inputs[:, :, None], error[:, :, None], weights, rows)

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        found = self.images.each_gradient(inputs[:, :, None], error[:, :, None])
        shapes = {name: (len(error), *shape) for name, shape in self.parameter_shapes.items()}
        return _named(found, shapes)


def _named(arrays: dict[str, Any], shapes: dict[str, Shape]) -> dict[str, Any]:
    return {name: array.reshape(shapes[name]) for name, array in arrays.items()}
