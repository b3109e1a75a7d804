"""Two-dimensional convolution: a linear layer over patches, at every position of the window."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod, sqrt
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Integers, Shape
from batchgrad_workers.nn.chunks import CACHE_BYTES, CHUNK_BYTES, chunks
from batchgrad_workers.nn.kernels.im2col import col2im, im2col, im2col_by_number
from batchgrad_workers.nn.kernels.norms import squared
from batchgrad_workers.nn.layers.base import BaseLayer, Parameters
from batchgrad_workers.nn.layers.bounds import (
    Bounded,
    enclosed,
    repeatable,
    roundoff,
    sums_by_unit,
    unit_chunks,
)
from batchgrad_workers.nn.layers.outer_products import (
    by_gram,
    form_cancelled,
    gram_bounds,
    gram_norms,
)
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
        norms = np.empty(len(inputs))
        if not by_gram(self._positions, self._group, self._patch):
            total = self._total(inputs.dtype)
            for run, each in self._runs(inputs, error):
                norms[run] = _squared(each)
                total += weights[run] @ each
            self._write(total, out)
            return norms
        total = self._total(inputs.dtype)
        for run, patches, delta in self._with_patches(inputs, error, CHUNK_BYTES):
            total += _weighted(patches, delta, weights[run])
            gram_norms(patches, delta, norms[run])
            form_cancelled(norms[run], total.nbytes, partial(_squared_of, patches, delta))
        self._write(total, out)
        return norms

    def bounded(self, inputs: Array, error: Array, weights: Array, rows: int) -> Bounded:
        """As `gradient_sums`: patches are copied twice, or g_n kept if there is memory."""
        if by_gram(rows * self._positions, self._group, self._patch):
            return self._bounded_by_gram(inputs, error, weights, rows)
        size = self._total(inputs.dtype).nbytes
        kept = repeatable(lambda: self._runs(inputs, error), len(inputs) * size, inputs, error)
        if rows == 1:
            squares = np.concatenate([_squared(each) for _, each in kept()])
        else:
            squares = self._unit_squares(inputs, error, weights, rows)

        def write(factors: Array, out: Parameters) -> None:
            total = self._total(inputs.dtype)
            for run, each in kept():
                total += factors[run] @ each
            self._write(total, out)

        return Bounded(squares, write)

    def _bounded_by_gram(self, inputs: Array, error: Array, weights: Array, rows: int) -> Bounded:
        squares = np.empty(len(inputs) // rows)
        for run, patches, delta in self._with_patches(inputs, error, CHUNK_BYTES, rows):
            weighted = delta if rows == 1 else delta * weights[run, None, None]
            units = slice(run.start // rows, run.stop // rows)
            squares[units] = gram_bounds(_long(patches, rows), _long(weighted, rows))

        def write(factors: Array, out: Parameters) -> None:
            total = self._total(inputs.dtype)
            for run, patches, delta in self._with_patches(inputs, error, CHUNK_BYTES):
                total += _weighted(patches, delta, factors[run])
            self._write(total, out)

        return Bounded(squares, write)

    def _unit_squares(self, inputs: Array, error: Array, weights: Array, rows: int) -> Floats:
        """Bounds (u,) for units of several rows, from g_n."""
        squares = np.empty(len(inputs) // rows)
        total = self._total(inputs.dtype)
        for units in chunks(len(squares), total.nbytes):
            own = slice(units.start * rows, units.stop * rows)
            count = units.stop - units.start
            shape = (self.groups, count, total.shape[1])
            formed = self._runs(inputs[own], error[own])
            sums, lengths = sums_by_unit(formed, weights[own], rows, shape)
            error_bound = 2 * (rows + 4) * roundoff(inputs.dtype)
            squares[units] = sum(
                enclosed(squared(each), length, error_bound)
                for each, length in zip(sums, lengths, strict=True)
            )
        return squares

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

    @cached_property
    def _channels(self) -> int:
        """Channels of a group."""
        return self.input_shape[0] // self.groups

    @property
    def _group(self) -> int:
        """Outputs of a group."""
        return self.out_channels // self.groups

    @cached_property
    def _numbers(self) -> int:
        """Numbers that one output sees."""
        return self._channels * prod(self.windows.kernel)

    @cached_property
    def _patch(self) -> int:
        """Numbers in a patch: those, and the 1 of the bias."""
        return self._numbers + self.bias

    @cached_property
    def _positions(self) -> int:
        return prod(self.windows.output_size)

    def _total(self, dtype: Any) -> Array:
        """Zeros for a sum of g_n, (groups, numbers of a group)."""
        return np.zeros((self.groups, self._patch * self._group), dtype)

    def _write(self, total: Array, out: Parameters) -> None:
        matrix = total.reshape(self.groups, self._patch, self._group)
        for name, part in self._named(matrix).items():
            out[name].reshape(part.shape)[...] = part

    def _with_patches(
        self, inputs: Array, error: Array, budget_bytes: int, rows: int = 1
    ) -> Iterator[tuple[slice, Array, Array]]:
        """Runs of whole units, with patches in reused memory, and δ in the same axes."""
        errors = channels_last(error)
        for run, patches in self._patches(inputs, budget_bytes, rows):
            yield run, patches, self._grouped(errors[run])

    def _runs(self, inputs: Array, error: Array) -> Iterator[tuple[slice, Array]]:
        """Runs of examples, with g_n (groups, n, numbers of a group)."""
        for run, patches, delta in self._with_patches(inputs, error, CACHE_BYTES):
            yield run, _formed(patches, delta)

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
        """(n, y, x, channels) as (groups, n, positions, channels of a group); a view."""
        shape = (len(images), self._positions, self.groups, images.shape[3] // self.groups)
        return images.reshape(shape, copy=False).transpose(2, 0, 1, 3)

    def _patches(
        self, inputs: Array, budget_bytes: int, rows: int = 1
    ) -> Iterator[tuple[slice, Array]]:
        """Runs of whole units, with patches (groups, n, positions, patch) in reused memory.

        Patches and what else a run needs stay within the budget, but for one unit at least.
        """
        positions, patch = self._positions, self._patch
        each = self.groups * positions * patch
        runs = unit_chunks(len(inputs), rows, self.workspace * inputs.itemsize, budget_bytes)
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


def _weighted(patches: Array, delta: Array, weights: Array) -> Array:
    """Σ_n w_n g_n (groups, numbers)."""
    weighted = delta * weights[:, None, None]
    total = _rows(patches).transpose(0, 2, 1) @ _rows(weighted)
    return total.reshape(len(total), -1)


def _long(array: Array, rows: int) -> Array:
    """(groups, n, positions, numbers) with a unit's positions on one axis, (groups, u, …)."""
    groups, _, positions, numbers = array.shape
    return array.reshape(groups, -1, rows * positions, numbers)


def _squared(each: Array) -> Floats:
    """‖g_n‖² (n,) over all groups."""
    return squared(each.reshape(-1, each.shape[2])).reshape(each.shape[:2]).sum(axis=0)


def _squared_of(patches: Array, delta: Array, some: Integers) -> Floats:
    """‖g_n‖² of some examples."""
    return _squared(_formed(patches[:, some], delta[:, some]))


def _rows(stack: Array) -> Array:
    """(…, n, positions, numbers) with examples and positions on one axis; a view."""
    return stack.reshape(*stack.shape[:-3], -1, stack.shape[-1], copy=False)
