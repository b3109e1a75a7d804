"""Pooling layers: the largest number, or the mean, of every window."""

from dataclasses import dataclass
from math import prod

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.nn.kernels.pooling import max_pool, max_pool_vjp, sum_pool, sum_pool_vjp
from batchgrad_workers.nn.layers.base import BaseLayer, Parameters
from batchgrad_workers.nn.layers.windows import Windows, channels_first, channels_last


@dataclass(frozen=True)
class _Pool(BaseLayer):
    windows: Windows

    @property
    def input_shape(self) -> Shape:  # type: ignore[override]
        return self.windows.input_shape

    @property
    def output_shape(self) -> Shape:
        return (self.input_shape[0], *self.windows.output_size)

    def _outputs(self, inputs: Array) -> Array:
        """An empty array for outputs, channels last."""
        return np.empty((len(inputs), *self.windows.output_size, self.input_shape[0]), inputs.dtype)

    def _below(self, error: Array) -> Array:
        """An empty array for the error at the inputs, channels last."""
        channels, height, width = self.input_shape
        return np.empty((len(error), height, width, channels), error.dtype)


class MaxPool2d(_Pool):
    """z = max over the window; the first of equal numbers gets the error."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        outputs = self._outputs(inputs)
        max_pool(channels_last(inputs), self.windows.geometry, outputs)
        return channels_first(outputs)

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters
        below, remaining = self._below(error), channels_last(error).copy()
        images, largest = channels_last(inputs), channels_last(outputs)
        max_pool_vjp(images, self.windows.geometry, largest, remaining, below)
        return channels_first(below)


class AvgPool2d(_Pool):
    """z = mean over the window, padding counted as zeros."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        outputs = self._outputs(inputs).astype(self.windows.sum_type(inputs.dtype), copy=False)
        sum_pool(channels_last(inputs), self.windows.geometry, outputs)
        outputs /= prod(self.windows.kernel)
        return channels_first(outputs.astype(inputs.dtype, copy=False))

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters, inputs, outputs
        below = self._below(error).astype(self.windows.sum_type(error.dtype), copy=False)
        share = channels_last(error) / prod(self.windows.kernel)
        sum_pool_vjp(share, self.windows.geometry, below)
        return channels_first(below.astype(error.dtype, copy=False))
