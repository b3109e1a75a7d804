"""Pooling layers: the largest number or the mean of every window, and means over whole axes."""

from dataclasses import dataclass
from math import prod

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.nn.kernels.pooling import max_pool, max_pool_vjp, sum_pool, sum_pool_vjp
from batchgrad_workers.nn.layers.base import BaseLayer, Parameters
from batchgrad_workers.nn.layers.outer_products import position_sums
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


@dataclass(frozen=True)
class Mean(BaseLayer):
    """z = mean of a over the neighbouring `axes` of an example, which disappear."""

    input_shape: Shape
    axes: slice

    @property
    def output_shape(self) -> Shape:
        before, _, after = self._parts
        return before + after

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        """Σ_t a_nt / T."""
        del parameters
        before, over, after = self._parts
        rows = inputs.reshape(len(inputs) * prod(before), prod(over), prod(after))
        outputs = position_sums(rows)
        outputs /= prod(over)
        return outputs.reshape(len(inputs), *before, *after)

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """δ_n / T at every t."""
        del parameters, outputs
        before, over, after = self._parts
        below = np.empty_like(inputs, error.dtype)
        share = error / error.dtype.type(prod(over))
        below[...] = share.reshape(len(error), *before, *([1] * len(over)), *after)
        return below

    @property
    def _parts(self) -> tuple[Shape, Shape, Shape]:
        """The input's shape: before, in and after `axes`."""
        start, stop, _ = self.axes.indices(len(self.input_shape))
        return self.input_shape[:start], self.input_shape[start:stop], self.input_shape[stop:]
