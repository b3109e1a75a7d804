"""Two-dimensional convolution: a linear layer over patches, at every place of the image."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.layers.chunks import CACHE_BYTES, CHUNK_BYTES, chunks
from batchgrad_workers.layers.protocol import Parameters, Plain
from batchgrad_workers.layers.windows import Windows, channels_first, channels_last

SHORT_RUN = 16
"""Where a window's row has fewer numbers side by side, patches are laid out number by number."""


@dataclass(frozen=True)
class Conv2d(Plain):
    """z_nto = Σ_i W_oi a_nti, with i over the patch (kernel x channels of the group).

    t runs over the places of the window. With a bias every patch ends in a 1, and b_o is that
    number's weight, in g_n as well. Patches are copied out of the images a few examples at a time.
    """

    windows: Windows
    out_channels: int
    groups: int
    bias: bool

    @property
    def input_shape(self) -> Shape:  # type: ignore[override]
        return self.windows.input_shape

    @property
    def output_shape(self) -> Shape:
        return (self.out_channels, *self.windows.places)

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {
            "weight": (self.out_channels, self._channels, *self.windows.kernel)
        }
        if self.bias:
            shapes["bias"] = (self.out_channels,)
        return shapes

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        """Uniform within 1/√(numbers in a patch) (torch.nn.Conv2d.reset_parameters)."""
        bound = 1.0 / sqrt(self._channels * prod(self.windows.kernel))
        return {
            name: random.uniform(-bound, bound, shape)
            for name, shape in self.parameter_shapes.items()
        }

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        matrix = np.empty((self.groups, self._group, self._patch), inputs.dtype)
        for name, part in self._named(matrix).items():
            part[...] = parameters[name].reshape(part.shape)
        outputs = np.empty((len(inputs), *self.windows.places, self.out_channels), inputs.dtype)
        for run, patches in self._patches(inputs, CACHE_BYTES):
            into = _rows(self._grouped(outputs[run]))
            np.matmul(_rows(patches), matrix.transpose(0, 2, 1), out=into)
        return channels_first(outputs)

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """Every patch's error Σ_o W_oi δ_nto, added up where patches overlap."""
        del outputs
        kernel, channels = self.windows.kernel, self.input_shape[0]
        weight = parameters["weight"].reshape(self.groups, self._group, self._channels, *kernel)
        by_place = weight.transpose(3, 4, 0, 1, 2).reshape(-1, *weight.shape[:3])
        below = np.empty((len(inputs), *self.input_shape[1:], channels), error.dtype)
        numbers = prod(self.windows.padded_shape) + prod(kernel) * channels * self._places
        runs = chunks(len(inputs), numbers * error.itemsize, CACHE_BYTES)
        shape = (prod(kernel), runs[0].stop, *self.windows.places, channels)
        patches = np.empty(shape, error.dtype)
        product = np.multiply if self._group == 1 else np.matmul  # of one number: the same, faster
        for run in runs:
            shares = patches[:, : run.stop - run.start]
            into = _rows(self._grouped(shares))
            product(_rows(self._error(error[run])), by_place, out=into)
            self.windows.spread(shares, below[run])
        return channels_first(below)

    def gradient_sums(self, inputs: Array, error: Array, weights: Array, into: Parameters) -> Array:
        """The smaller way of `products`, group by group: Gram matrices over places, or g_n."""
        total = np.zeros((self.groups, self._group, self._patch), inputs.dtype)
        norms = np.empty(len(inputs), inputs.dtype)
        gram = 2 * self.groups * self._places**2 < total.size
        for run, patches in self._patches(inputs, CHUNK_BYTES if gram else CACHE_BYTES):
            delta = self._error(error[run])
            if gram:
                weighted = delta * weights[run, None, None]
                total += _rows(weighted).transpose(0, 2, 1) @ _rows(patches)
                products = patches @ patches.transpose(0, 1, 3, 2)
                products *= delta @ delta.transpose(0, 1, 3, 2)
                norms[run] = products.sum(axis=(0, 2, 3))
            else:
                each = (delta.transpose(0, 1, 3, 2) @ patches).reshape(*delta.shape[:2], -1)
                norms[run] = np.vecdot(each, each).sum(axis=0)
                total += (weights[run] @ each).reshape(total.shape)
        for name, part in self._named(total).items():
            into[name].reshape(part.shape)[...] = part
        return norms

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        found = {
            name: np.empty((len(inputs), *shape), error.dtype)
            for name, shape in self.parameter_shapes.items()
        }
        for run, patches in self._patches(inputs, CHUNK_BYTES):
            delta = self._error(error[run])
            each = (delta.transpose(0, 1, 3, 2) @ patches).swapaxes(0, 1)
            for name, part in self._named(each).items():
                found[name][run].reshape(part.shape)[...] = part
        return found

    @property
    def _channels(self) -> int:
        """Channels of a group."""
        return self.input_shape[0] // self.groups

    @property
    def _group(self) -> int:
        """Outputs of a group."""
        return self.out_channels // self.groups

    @property
    def _patch(self) -> int:
        """Numbers in a patch: what one output sees, and the 1 of the bias."""
        return self._channels * prod(self.windows.kernel) + self.bias

    @property
    def _places(self) -> int:
        return prod(self.windows.places)

    def _named(self, matrix: Array) -> dict[str, Array]:
        """Views of (…, groups, outputs of a group, patch), in the order of the parameters."""
        kernel = prod(self.windows.kernel)
        weight = matrix[..., : kernel * self._channels]
        weight = weight.reshape(*matrix.shape[:-1], kernel, self._channels, copy=False)
        found = {"weight": weight.swapaxes(-1, -2)}
        return {**found, "bias": matrix[..., -1]} if self.bias else found

    def _grouped(self, images: Array) -> Array:
        """(…, n, down, across, channels) as (…, groups, n, places, channels of a group); a view."""
        shape = (*images.shape[:-3], self._places, self.groups, images.shape[-1] // self.groups)
        return np.moveaxis(images.reshape(shape, copy=False), -2, -4)

    def _error(self, error: Array) -> Array:
        """Errors (n, channels, down, across) in that shape, channels side by side."""
        return self._grouped(np.ascontiguousarray(channels_last(error)))

    def _patches(self, inputs: Array, budget_bytes: int) -> Iterator[tuple[slice, Array]]:
        """Runs of examples with their patches (groups, n, places, patch); the next overwrites them.

        Patches, padded images and what else a run needs stay within the budget.
        """
        places, numbers = self._places, self._patch - self.bias
        products = min(2 * self.groups * places**2, self.out_channels * self._patch)
        each = prod(self.windows.padded_shape) + products
        each += places * (self.groups * self._patch + self.out_channels)
        runs = chunks(len(inputs), each * inputs.itemsize, budget_bytes)
        by_number = self._channels * self.windows.kernel[1] < SHORT_RUN
        images, inside = self.windows.frames(runs[0].stop, inputs.dtype, by_channel=by_number)
        seen = self.windows.look(images)
        seen = np.moveaxis(seen.reshape(*seen.shape[:-1], self.groups, -1, copy=False), -2, 0)
        shape = (self.groups, len(images), places, self._patch)
        if by_number:
            memory = np.empty((shape[0], shape[3], *shape[1:3]), inputs.dtype)
            patches = memory.transpose(0, 2, 3, 1)
        else:
            patches = np.empty(shape, inputs.dtype)
        patches[..., numbers:] = 1
        room = patches[..., :numbers].reshape(seen.shape, copy=False)
        for run in runs:
            count = run.stop - run.start
            inside[:count] = inputs[run]
            room[:, :count] = seen[:, :count]
            yield run, patches[:, :count]


def _rows(stack: Array) -> Array:
    """(…, n, places, numbers) with examples and places on one axis; a view."""
    return stack.reshape(*stack.shape[:-3], -1, stack.shape[-1], copy=False)
