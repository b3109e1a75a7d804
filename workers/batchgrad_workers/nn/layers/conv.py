"""Two-dimensional convolution: a linear layer over patches, at every position of the window."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import prod, sqrt
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Integers, Shape
from batchgrad_workers.nn.chunks import CACHE_BYTES, CHUNK_BYTES, chunks
from batchgrad_workers.nn.kernels.im2col import col2im, im2col, im2col_by_number
from batchgrad_workers.nn.kernels.norms import squared
from batchgrad_workers.nn.layers.base import BaseLayer, Parameters
from batchgrad_workers.nn.layers.outer_products import form_cancelled, gram_norms
from batchgrad_workers.nn.layers.windows import Windows, channels_first, channels_last

SHORT_RUN = 16
"""Where a window's row has fewer numbers of a group, patches are laid out number by number."""


@dataclass(frozen=True)
class Conv2d(BaseLayer):
    """z_nto = Σ_k W_ok x_ntk, where x_nt is the patch that the window sees at position t.

    k runs over the kernel's pixels and the group's channels. With a bias every patch ends in a 1,
    and b_o is that number's weight, in g_n as well. Patches are copied for some examples at a time.
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
        return (self.out_channels, *self.windows.output_size)

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {
            "weight": (self.out_channels, self._channels, *self.windows.kernel)
        }
        if self.bias:
            shapes["bias"] = (self.out_channels,)
        return shapes

    @property
    def workspace(self) -> int:
        """Patches, products of them and errors; at least one example's are held at once."""
        positions, patch = self._positions, self._patch
        products = min(2 * self.groups * positions**2, self.out_channels * patch)
        return self.groups * positions * patch + products + positions * self.out_channels

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        """Uniform within 1/√(numbers in a patch) (torch.nn.Conv2d.reset_parameters)."""
        bound = 1.0 / sqrt(self._channels * prod(self.windows.kernel))
        return {
            name: random.uniform(-bound, bound, shape)
            for name, shape in self.parameter_shapes.items()
        }

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        """Σ_k W_ok x_ntk."""
        matrix = self._matrix(parameters, inputs.dtype)
        outputs = np.empty(
            (len(inputs), *self.windows.output_size, self.out_channels), inputs.dtype
        )
        for run, patches in self._patches(inputs, CACHE_BYTES):
            out = _rows(self._grouped(outputs[run]))
            np.matmul(_rows(patches), matrix, out=out)
        return channels_first(outputs)

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """col2im of every patch's error Σ_o W_ok δ_nto: added up where patches overlap."""
        del outputs
        channels, height, width = self.input_shape
        matrix = self._matrix(parameters, error.dtype)[:, : self._numbers].transpose(0, 2, 1)
        shape = (len(inputs), height, width, channels)
        below = np.empty(shape, self.windows.sum_type(error.dtype))
        delta = channels_last(error)
        each = self.groups * self._positions * self._numbers
        runs = chunks(len(inputs), each * error.itemsize, CACHE_BYTES)
        memory = np.empty(each * runs[0].stop, error.dtype)
        product = np.multiply if self._group == 1 else np.matmul  # of one number: the same, faster
        for run in runs:
            count = run.stop - run.start
            shape = (self.groups, count, self._positions, self._numbers)
            patches = memory[: each * count].reshape(shape)
            product(_rows(self._grouped(delta[run])), matrix, out=_rows(patches))
            col2im(patches, self.windows.geometry, below[run])
        return channels_first(below.astype(error.dtype, copy=False))

    def gradient_sums(self, inputs: Array, error: Array, weights: Array, out: Parameters) -> Floats:
        """The cheaper way of `outer_products`, by group: Gram matrices over positions, or g_n."""
        total = np.zeros((self.groups, self._patch, self._group), inputs.dtype)
        norms = np.empty(len(inputs))
        gram = 2 * self.groups * self._positions**2 < total.size
        errors = channels_last(error)
        for run, patches in self._patches(inputs, CHUNK_BYTES if gram else CACHE_BYTES):
            delta = self._grouped(errors[run])
            if gram:
                weighted = delta * weights[run, None, None]
                total += _rows(patches).transpose(0, 2, 1) @ _rows(weighted)
                gram_norms(patches, delta, norms[run])
                form_cancelled(norms[run], total.nbytes, partial(_squared_of, patches, delta))
            else:
                each = _formed(patches, delta)
                norms[run] = _squared(each)
                total += (weights[run] @ each).reshape(total.shape)
        for name, part in self._named(total).items():
            out[name].reshape(part.shape)[...] = part
        return norms

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        """Σ_t δ_nto x_ntk."""
        found = {
            name: np.empty((len(inputs), *shape), error.dtype)
            for name, shape in self.parameter_shapes.items()
        }
        errors = channels_last(error)
        for run, patches in self._patches(inputs, CHUNK_BYTES):
            delta = self._grouped(errors[run])
            each = (patches.transpose(0, 1, 3, 2) @ delta).swapaxes(0, 1)
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
    def _numbers(self) -> int:
        """Numbers that one output sees."""
        return self._channels * prod(self.windows.kernel)

    @property
    def _patch(self) -> int:
        """Numbers in a patch: those, and the 1 of the bias."""
        return self._numbers + self.bias

    @property
    def _positions(self) -> int:
        return prod(self.windows.output_size)

    def _matrix(self, parameters: Parameters, dtype: Any) -> Array:
        """W and b as (groups, patch, outputs of a group)."""
        matrix = np.empty((self.groups, self._patch, self._group), dtype)
        for name, part in self._named(matrix).items():
            part[...] = parameters[name].reshape(part.shape)
        return matrix

    def _named(self, matrix: Array) -> dict[str, Array]:
        """Views of (…, groups, patch, outputs of a group), in the order of the parameters."""
        weight = matrix[..., : self._numbers, :]
        shape = (*matrix.shape[:-2], -1, self._channels, self._group)
        found = {"weight": weight.reshape(shape, copy=False).swapaxes(-1, -3)}
        return {**found, "bias": matrix[..., -1, :]} if self.bias else found

    def _grouped(self, images: Array) -> Array:
        """(…, n, y, x, channels) as (…, groups, n, positions, channels of a group); a view."""
        shape = (*images.shape[:-3], self._positions, self.groups, images.shape[-1] // self.groups)
        return np.moveaxis(images.reshape(shape, copy=False), -2, -4)

    def _patches(self, inputs: Array, budget_bytes: int) -> Iterator[tuple[slice, Array]]:
        """Runs of examples, with patches (groups, n, positions, patch) in reused memory.

        Patches and what else a run needs stay within the budget.
        """
        positions, patch = self._positions, self._patch
        each = self.groups * positions * patch
        runs = chunks(len(inputs), self.workspace * inputs.itemsize, budget_bytes)
        memory = np.zeros(each * runs[0].stop, inputs.dtype)
        by_number = self._channels * self.windows.kernel[1] < SHORT_RUN
        images = np.ascontiguousarray(inputs) if by_number else channels_last(inputs)
        for run in runs:
            count = run.stop - run.start
            part = memory[: each * count]
            if by_number:
                columns = part.reshape(self.groups, patch, count, positions)
                im2col_by_number(images[run], self.windows.geometry, columns)
                yield run, columns.transpose(0, 2, 3, 1)
            else:
                patches = part.reshape(self.groups, count, positions, patch)
                im2col(images[run], self.windows.geometry, patches)
                yield run, patches


def _formed(patches: Array, delta: Array) -> Array:
    """g_n (groups, n, numbers) from (groups, n, positions, …)."""
    return (patches.transpose(0, 1, 3, 2) @ delta).reshape(*delta.shape[:2], -1)


def _squared(each: Array) -> Floats:
    """‖g_n‖² (n,) over all groups."""
    return squared(each.reshape(-1, each.shape[2])).reshape(each.shape[:2]).sum(axis=0)


def _squared_of(patches: Array, delta: Array, some: Integers) -> Floats:
    """‖g_n‖² of some examples."""
    return _squared(_formed(patches[:, some], delta[:, some]))


def _rows(stack: Array) -> Array:
    """(…, n, positions, numbers) with examples and positions on one axis; a view."""
    return stack.reshape(*stack.shape[:-3], -1, stack.shape[-1], copy=False)
