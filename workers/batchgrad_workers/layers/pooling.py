"""Pooling: the largest, or the mean, of every window.

Images are padded a few examples at a time, within CHUNK_BYTES.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.layers.chunks import chunks
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

    def _runs(self, inputs: Array) -> Iterator[slice]:
        """Runs of examples whose padded images, and their errors, fit the budget."""
        return chunks(len(inputs), 2 * prod(self.windows.padded_shape) * inputs.itemsize)

    def _outputs(self, inputs: Array) -> Array:
        return np.empty((len(inputs), *self.output_shape), inputs.dtype)


class MaxPool2d(_Pool):
    """z = max over the window; the first of equal numbers gets the error."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        outputs = self._outputs(inputs)
        for run in self._runs(inputs):
            seen, largest = self.windows.look(inputs[run], fill=-np.inf), outputs[run]
            largest[...] = seen[:, :, 0, 0]
            for row, column, _ in self.windows.offsets():
                np.maximum(largest, seen[:, :, row, column], out=largest)
        return outputs

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters
        below = np.empty(inputs.shape, error.dtype)
        for run in self._runs(inputs):
            largest, delta = outputs[run], error[run]
            unclaimed = np.ones(largest.shape, np.bool_)
            images = self.windows.padded_zeros(len(largest), error.dtype)
            seen = self.windows.look(inputs[run], fill=-np.inf)
            for row, column, (rows, columns) in self.windows.offsets():
                claimed = seen[:, :, row, column] == largest
                claimed &= unclaimed
                unclaimed ^= claimed
                images[:, :, rows, columns] += delta * claimed
            below[run] = self.windows.crop(images)
        return below


class AvgPool2d(_Pool):
    """z = mean over the window, padding counted as zeros."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        outputs = self._outputs(inputs)
        for run in self._runs(inputs):
            seen, total = self.windows.look(inputs[run]), outputs[run]
            total[...] = 0
            for row, column, _ in self.windows.offsets():
                total += seen[:, :, row, column]
            total /= prod(self.windows.kernel)
        return outputs

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters, outputs
        share = error / error.dtype.type(prod(self.windows.kernel))
        below = np.empty(inputs.shape, error.dtype)
        for run in self._runs(inputs):
            part = share[run]
            images = self.windows.padded_zeros(len(part), error.dtype)
            for _, _, (rows, columns) in self.windows.offsets():
                images[:, :, rows, columns] += part
            below[run] = self.windows.crop(images)
        return below
