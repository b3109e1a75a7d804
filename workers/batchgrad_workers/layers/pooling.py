"""Pooling: the largest, or the mean, of every window."""

from dataclasses import dataclass
from math import prod

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.layers.protocol import Parameterless, Parameters
from batchgrad_workers.layers.windows import Windows


@dataclass(frozen=True)
class _Pool(Parameterless):
    windows: Windows

    @property
    def input_shape(self) -> Shape:  # type: ignore[override]
        return self.windows.input_shape

    @property
    def output_shape(self) -> Shape:
        return (self.input_shape[0], *self.windows.places)


class MaxPool2d(_Pool):
    """z = max over the window; the first of equal numbers gets the error."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        return self.windows.look(inputs, fill=-np.inf).max(axis=(2, 3))

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters
        unclaimed = np.ones(outputs.shape, np.bool_)
        images = self.windows.padded_zeros(len(inputs), error.dtype)
        seen = self.windows.look(inputs, fill=-np.inf)
        for row, column, (rows, columns) in self.windows.offsets():
            claimed = unclaimed & (seen[:, :, row, column] == outputs)
            images[:, :, rows, columns] += np.where(claimed, error, 0)
            unclaimed &= ~claimed
        return self.windows.crop(images)


class AvgPool2d(_Pool):
    """z = mean over the window, padding counted as zeros."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        return self.windows.look(inputs).mean(axis=(2, 3))

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters, outputs
        share = error / error.dtype.type(prod(self.windows.kernel))
        images = self.windows.padded_zeros(len(inputs), error.dtype)
        for _, _, (rows, columns) in self.windows.offsets():
            images[:, :, rows, columns] += share
        return self.windows.crop(images)
