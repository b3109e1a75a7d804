"""Pooling: the largest, or the mean, of every window.

Images are padded a few examples at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.layers.chunks import CACHE_BYTES, chunks
from batchgrad_workers.layers.protocol import Parameterless, Parameters
from batchgrad_workers.layers.windows import Windows, channels_first, channels_last


@dataclass(frozen=True)
class _Pool(Parameterless):
    windows: Windows

    @property
    def input_shape(self) -> Shape:  # type: ignore[override]
        return self.windows.input_shape

    @property
    def output_shape(self) -> Shape:
        return (self.input_shape[0], *self.windows.places)

    def _runs(self, inputs: Array) -> list[slice]:
        """Runs of examples whose padded images, and their errors, fit the cache."""
        numbers = 2 * prod(self.windows.padded_shape)
        return chunks(len(inputs), numbers * inputs.itemsize, CACHE_BYTES)

    def _padded(self, inputs: Array, fill: float) -> Iterator[tuple[slice, Array]]:
        """Runs of examples with their padded images, channels last."""
        runs = self._runs(inputs)
        if self.windows.padding == (0, 0):
            yield from ((run, channels_last(inputs[run])) for run in runs)
            return
        images, inside = self.windows.frames(runs[0].stop, inputs.dtype, fill)
        for run in runs:
            count = run.stop - run.start
            inside[:count] = inputs[run]
            yield run, images[:count]

    def _outputs(self, inputs: Array) -> Array:
        """Room for outputs, channels last."""
        return np.empty((len(inputs), *self.windows.places, self.input_shape[0]), inputs.dtype)


class MaxPool2d(_Pool):
    """z = max over the window; the first of equal numbers gets the error."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        outputs = self._outputs(inputs)
        for run, images in self._padded(inputs, -np.inf):
            first, *others = self.windows.offsets()
            outputs[run] = images[:, *first]
            for met in others:
                np.maximum(outputs[run], images[:, *met], out=outputs[run])
        return channels_first(outputs)

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters
        below = np.empty_like(channels_last(inputs), error.dtype)
        for run, seen in self._padded(inputs, -np.inf):
            unclaimed = channels_last(error[run]).copy()
            shares = self._claims(seen, channels_last(outputs[run]), unclaimed)
            self.windows.spread(shares, below[run])
        return channels_first(below)

    def _claims(self, seen: Array, largest: Array, unclaimed: Array) -> Iterator[Array]:
        """For each kernel place the errors that it takes from what the ones before have left."""
        for met in self.windows.offsets():
            claimed = unclaimed * (seen[:, *met] == largest)
            yield claimed
            unclaimed -= claimed


class AvgPool2d(_Pool):
    """z = mean over the window, padding counted as zeros."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        outputs = self._outputs(inputs)
        for run, images in self._padded(inputs, 0.0):
            first, *others = self.windows.offsets()
            outputs[run] = images[:, *first]
            for met in others:
                outputs[run] += images[:, *met]
            outputs[run] /= prod(self.windows.kernel)
        return channels_first(outputs)

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters, outputs
        below = np.empty_like(channels_last(inputs), error.dtype)
        places = prod(self.windows.kernel)
        for run in self._runs(inputs):
            share = channels_last(error[run]) / error.dtype.type(places)
            self.windows.spread([share] * places, below[run])
        return channels_first(below)
