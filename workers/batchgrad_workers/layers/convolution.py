"""Two-dimensional convolution: a linear layer over patches, at every place of the image."""

from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.layers.chunks import chunks
from batchgrad_workers.layers.products import bias_sums, squared
from batchgrad_workers.layers.protocol import Parameters, Plain
from batchgrad_workers.layers.windows import Windows


@dataclass(frozen=True)
class Conv2d(Plain):
    """z_not = Σ_i W_oi a_nit + b_o, with i over the patch (channels of the group x kernel).

    t runs over the places of the window. Patches are copied out of the images a few examples at
    a time, within CHUNK_BYTES.
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
        channels = self.input_shape[0] // self.groups
        shapes: dict[str, Shape] = {"weight": (self.out_channels, channels, *self.windows.kernel)}
        if self.bias:
            shapes["bias"] = (self.out_channels,)
        return shapes

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        """Uniform within 1/√(numbers in a patch) (torch.nn.Conv2d.reset_parameters)."""
        bound = 1.0 / sqrt(self._patch)
        return {
            name: random.uniform(-bound, bound, shape)
            for name, shape in self.parameter_shapes.items()
        }

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        weight = self._matrix(parameters["weight"])
        outputs = np.empty(
            (len(inputs), self.groups, *weight.shape[1:2], self._places), inputs.dtype
        )
        for run in self._runs(inputs):
            np.matmul(weight, self._patches(inputs[run]), out=outputs[run])
        outputs = outputs.reshape(len(inputs), *self.output_shape)
        if self.bias:
            outputs += parameters["bias"][:, None, None]
        return outputs

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """Every patch's error Σ_o W_oi δ_ot, added up where patches overlap."""
        del outputs
        transposed = self._matrix(parameters["weight"]).transpose(0, 2, 1)
        grouped = self._grouped(error)
        below = np.empty(inputs.shape, error.dtype)
        for run in self._runs(inputs):
            patches = np.matmul(transposed, grouped[run])
            images = self.windows.padded_zeros(len(patches), error.dtype)
            places = patches.reshape(
                len(patches), self.input_shape[0], *self.windows.kernel, *self.windows.places
            )
            for row, column, (rows, columns) in self.windows.offsets():
                images[:, :, rows, columns] += places[:, :, row, column]
            below[run] = self.windows.crop(images)
        return below

    def gradient_sums(self, inputs: Array, error: Array, weights: Array, into: Parameters) -> Array:
        """The smaller way of `products`, group by group: Gram matrices over places, or g_n."""
        grouped = self._grouped(error)
        total = self._matrix(into["weight"])
        total[...] = 0
        norms = np.zeros(len(inputs), inputs.dtype)
        for run in self._runs(inputs):
            patches, part = self._patches(inputs[run]), grouped[run]
            weighted = part * weights[run].reshape(-1, 1, 1, 1)
            if 2 * self.groups * self._places**2 < prod(total.shape):
                for example in range(len(part)):
                    total += np.matmul(weighted[example], patches[example].transpose(0, 2, 1))
                gram = np.matmul(patches.transpose(0, 1, 3, 2), patches)
                gram *= np.matmul(part.transpose(0, 1, 3, 2), part)
                norms[run] = gram.sum(axis=(1, 2, 3))
            else:
                each = np.matmul(part, patches.transpose(0, 1, 3, 2))
                norms[run] = squared(each.reshape(len(each), -1))
                total += np.tensordot(weights[run], each, axes=1)
        if self.bias:
            places = error.reshape(len(error), self.out_channels, -1).transpose(0, 2, 1)
            norms += bias_sums(places, weights, into["bias"])
        return norms

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        each = np.matmul(self._grouped(error), self._patches(inputs).transpose(0, 1, 3, 2))
        found = {"weight": each.reshape(len(inputs), *self.parameter_shapes["weight"])}
        return {**found, "bias": error.sum(axis=(2, 3))} if self.bias else found

    @property
    def _patch(self) -> int:
        """Numbers that one output sees."""
        return self.input_shape[0] // self.groups * prod(self.windows.kernel)

    @property
    def _places(self) -> int:
        return prod(self.windows.places)

    def _runs(self, inputs: Array) -> Any:
        """Runs of examples whose padded images, patches and products fit the budget."""
        matrix = self.out_channels * self._patch
        products = min(2 * self.groups * self._places**2, matrix)
        patches = 2 * self.groups * self._patch * self._places
        numbers = prod(self.windows.padded_shape) + patches + products
        return chunks(len(inputs), numbers * inputs.itemsize)

    def _patches(self, images: Array) -> Array:
        """(n, groups, patch, places), a copy."""
        seen = self.windows.look(images)
        return np.ascontiguousarray(seen).reshape(
            len(images), self.groups, self._patch, self._places
        )

    def _matrix(self, weight: Array) -> Array:
        """Weight as (groups, outputs of a group, patch); a view."""
        return weight.reshape(self.groups, self.out_channels // self.groups, self._patch)

    def _grouped(self, error: Array) -> Array:
        """Error as (n, groups, outputs of a group, places); a view."""
        return error.reshape(
            len(error), self.groups, self.out_channels // self.groups, self._places
        )
