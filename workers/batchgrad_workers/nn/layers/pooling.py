"""Pooling: the largest, or the mean, of every window."""

from dataclasses import dataclass
from math import prod

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.nn.kernels.im2col import Geometry, U, Windows, channels_first, channels_last
from batchgrad_workers.nn.kernels.jit import compiled
from batchgrad_workers.nn.layers.base import Parameterless, Parameters


@dataclass(frozen=True)
class _Pool(Parameterless):
    windows: Windows

    @property
    def input_shape(self) -> Shape:  # type: ignore[override]
        return self.windows.input_shape

    @property
    def output_shape(self) -> Shape:
        return (self.input_shape[0], *self.windows.places)

    def _outputs(self, inputs: Array) -> Array:
        """Room for outputs, channels last."""
        return np.empty((len(inputs), *self.windows.places, self.input_shape[0]), inputs.dtype)

    def _below(self, error: Array) -> Array:
        """Room for the error at the inputs, channels last."""
        channels, height, width = self.input_shape
        return np.empty((len(error), height, width, channels), error.dtype)


class MaxPool2d(_Pool):
    """z = max over the window; the first of equal numbers gets the error."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        outputs = self._outputs(inputs)
        _largest(channels_last(inputs), self.windows.geometry, outputs)
        return channels_first(outputs)

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters
        below, unclaimed = self._below(error), channels_last(error).copy()
        images, largest = channels_last(inputs), channels_last(outputs)
        _claim(images, self.windows.geometry, largest, unclaimed, below)
        return channels_first(below)


class AvgPool2d(_Pool):
    """z = mean over the window, padding counted as zeros."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        outputs = self._outputs(inputs).astype(self.windows.sum_type(inputs.dtype), copy=False)
        _add_up(channels_last(inputs), self.windows.geometry, outputs)
        outputs /= prod(self.windows.kernel)
        return channels_first(outputs.astype(inputs.dtype, copy=False))

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters, inputs, outputs
        below = self._below(error).astype(self.windows.sum_type(error.dtype), copy=False)
        share = channels_last(error) / prod(self.windows.kernel)
        _share_out(share, self.windows.geometry, below)
        return channels_first(below.astype(error.dtype, copy=False))


@compiled
def _largest(images: Array, geometry: Geometry, outputs: Array) -> None:
    """Of NaN and a number NaN is the larger."""
    kh, kw, sh, sw, ph, pw, _, _, down, across = geometry
    height, width, channels = images.shape[1:]
    for n in range(len(images)):
        outputs[n] = -np.inf
        for row in range(down):
            for i in range(kh):
                y = row * sh + i - ph
                for j in range(kw):
                    for column in range(across):
                        x = column * sw + j - pw
                        if 0 <= y < height and 0 <= x < width:
                            for c in range(channels):
                                a, z = images[n, U(y), U(x), c], outputs[n, row, column, c]
                                outputs[n, row, column, c] = z if a <= z or np.isnan(z) else a


@compiled
def _claim(
    images: Array, geometry: Geometry, outputs: Array, unclaimed: Array, below: Array
) -> None:
    """Write to the first pixel that is its window's largest, or NaN, what is unclaimed; leave 0."""
    kh, kw, sh, sw, ph, pw, _, _, down, across = geometry
    height, width, channels = images.shape[1:]
    zero = below.dtype.type(0)
    for n in range(len(images)):
        below[n] = zero
        for row in range(down):
            for i in range(kh):
                y = row * sh + i - ph
                for j in range(kw):
                    for column in range(across):
                        x = column * sw + j - pw
                        if 0 <= y < height and 0 <= x < width:
                            for c in range(channels):
                                a, left = images[n, U(y), U(x), c], unclaimed[n, row, column, c]
                                met = a == outputs[n, row, column, c] or np.isnan(a)
                                below[n, U(y), U(x), c] += left if met else zero
                                unclaimed[n, row, column, c] = zero if met else left


@compiled
def _add_up(images: Array, geometry: Geometry, outputs: Array) -> None:
    kh, kw, sh, sw, ph, pw, _, _, down, across = geometry
    height, width, channels = images.shape[1:]
    for n in range(len(images)):
        outputs[n] = 0
        for row in range(down):
            for i in range(kh):
                y = row * sh + i - ph
                for j in range(kw):
                    for column in range(across):
                        x = column * sw + j - pw
                        if 0 <= y < height and 0 <= x < width:
                            for c in range(channels):
                                outputs[n, row, column, c] += images[n, U(y), U(x), c]


@compiled
def _share_out(error: Array, geometry: Geometry, below: Array) -> None:
    kh, kw, sh, sw, ph, pw, _, _, down, across = geometry
    height, width, channels = below.shape[1:]
    for n in range(len(below)):
        below[n] = 0
        for row in range(down):
            for i in range(kh):
                y = row * sh + i - ph
                for j in range(kw):
                    for column in range(across):
                        x = column * sw + j - pw
                        if 0 <= y < height and 0 <= x < width:
                            for c in range(channels):
                                below[n, U(y), U(x), c] += error[n, row, column, c]
