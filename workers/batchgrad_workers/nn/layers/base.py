"""What a layer is, and what follows for it from its definitions.

A layer is defined by `forward`, `backward` and `each_gradient`; sums over examples and norms follow
from these, and a layer that finds them faster overrides `gradient_sums`, `sums` or `bounded`.

Symbols, used everywhere in this package: n example · t position · i input · o output · a layer
input (n, …) · z layer output (n, …) · δ error ∂ℓ_n/∂z_n at the layer's output, for each example's
own loss, never divided by N · w example weight · g_n per-example gradient.

Images are (n, channels, height, width), but mostly views of memory where a pixel's channels lie
side by side: functions on them keep that order of memory.
"""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Shape, memory_order
from batchgrad_workers.nn.kernels.norms import squared
from batchgrad_workers.nn.layers.bounds import Bounded, repeatable, sum_bounds, unit_chunks

Parameters = Mapping[str, Any]
"""One layer's parameters, or their gradients, by local name ("weight", "bias")."""

KEYS = "keys"
"""Beside the parameters of a layer that draws, in training: random keys (n,) of the examples."""


class SumBuffers(NamedTuple):
    """Arrays that take the sums behind the means.

    `inputs` takes Σ_n w_n a_n, in the shape of a mean input; `errors` takes Σ_n w_n δ_n, flat, and
    is None if mean errors are not needed.
    """

    inputs: Array
    errors: Array | None


class ShapeMismatch(ValueError):
    """A layer does not accept the output of the layer below."""


class Layer(Protocol):
    """One layer of a network on inputs of a known shape (without the axis of examples)."""

    @property
    def output_shape(self) -> Shape:
        """Shape of one example's output."""

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        """Shapes by local name, in PyTorch's order; empty for a layer without parameters."""

    @property
    def mean_shape(self) -> Shape:
        """Shape of a mean input: the input's own, or one-hot rows where inputs are ids."""

    @property
    def draws(self) -> bool:
        """Whether training gives random outputs, which need `KEYS`."""

    @property
    def workspace(self) -> int:
        """Numbers held at once for one example, besides inputs, outputs and the sums."""

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        """Initial parameters as in PyTorch, float64."""

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        """Outputs z from inputs a."""

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """Error at the layer's input from the error δ at its output."""

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        """g_n by local name, (n, *parameter shape), from a (n, …) and δ (n, …)."""

    def gradient_sums(self, inputs: Array, error: Array, weights: Array, out: Parameters) -> Floats:
        """Write Σ_n w_n g_n into `out`; return ‖g_n‖² (n,) over this layer's parameters.

        From a (n, …), δ (n, …) and w (n,). A square that float64 can't hold is NaN (see `norms`).
        No N x P array is formed.
        """

    def bounded(self, inputs: Array, error: Array, weights: Array, rows: int) -> Bounded:
        """How long gradients are at most, and their sum with factors found from that.

        From a (n, …), δ (n, …) and w (n,), of units of `rows` rows side by side. Where each row is
        a unit, `squares` are those of ‖g_n‖, without its weight.
        """

    def sums(
        self,
        inputs: Array,
        error: Array,
        weights: Array,
        out: Parameters,
        means: SumBuffers | None,
        norms: Floats,
    ) -> None:
        """`gradient_sums`, and the sums of `means` unless it is None.

        ‖g_n‖² over this layer's parameters is added to `norms` (n,).
        """

    def input_sum(self, inputs: Array, weights: Array, out: Array) -> None:
        """Write Σ_n w_n a_n, in the shape of a mean input."""


class BaseLayer:
    """Defaults for a layer that has no parameters and takes numbers.

    Sums come from `each_gradient`. A layer with parameters also defines `parameter_shapes`,
    `initial` and `each_gradient`.
    """

    input_shape: Shape

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        return {}

    @property
    def mean_shape(self) -> Shape:
        return self.input_shape

    @property
    def draws(self) -> bool:
        return False

    @property
    def workspace(self) -> int:
        """One per-example gradient."""
        return sum(prod(shape) for shape in self.parameter_shapes.values())

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        del random
        return {}

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        del inputs, error
        return {}

    def gradient_sums(self, inputs: Array, error: Array, weights: Array, out: Parameters) -> Floats:
        """From g_n themselves, some examples at a time."""
        norms = np.zeros(len(error))
        for run, name, each in self._formed(inputs, error, 1):
            add_product(weights[run], each, out[name].reshape(-1), first=not run.start)
            norms[run] += squared(each)
        return norms

    def bounded(self, inputs: Array, error: Array, weights: Array, rows: int) -> Bounded:
        """From g_n themselves, kept for the sum if there is memory."""
        kept = repeatable(
            lambda: self._formed(inputs, error, rows),
            error.itemsize * len(error) * self.workspace,
            inputs,
            error,
        )
        squares = np.zeros(len(error) // rows)
        for run, _, each in kept():
            squares[run.start // rows : run.stop // rows] += sum_bounds(each, weights[run], rows)

        def write(factors: Array, out: Parameters) -> None:
            for run, name, each in kept():
                add_product(factors[run], each, out[name].reshape(-1), first=not run.start)

        return Bounded(squares, write)

    def _formed(self, inputs: Array, error: Array, rows: int) -> Iterator[tuple[slice, str, Array]]:
        """Runs of examples, with g_n (n, size) by local name."""
        for run in unit_chunks(len(error), rows, self.workspace * error.itemsize):
            for name, gradients in self.each_gradient(inputs[run], error[run]).items():
                yield run, name, gradients.reshape(len(gradients), -1)

    def sums(
        self: "Layer",
        inputs: Array,
        error: Array,
        weights: Array,
        out: Parameters,
        means: SumBuffers | None,
        norms: Floats,
    ) -> None:
        if means:
            self.input_sum(inputs, weights, means.inputs)
            if means.errors is not None:
                weighted_sum(weights, error, means.errors)
        if out:
            norms += self.gradient_sums(inputs, error, weights, out)

    def input_sum(self, inputs: Array, weights: Array, out: Array) -> None:
        weighted_sum(weights, inputs, out)


def add_product(weights: Array, each: Array, total: Array, *, first: bool) -> None:
    """Add Σ_n w_n of g_n (n, p) to `total` (p,); the first one is written."""
    if first:
        np.matmul(weights, each, out=total)
    else:
        total += weights @ each


def weighted_sum(weights: Array, rows: Array, out: Array) -> None:
    """Write Σ_n w_n of the rows (n, …), read in the order in which they lie in memory."""
    if rows.flags.c_contiguous:
        np.matmul(weights, rows.reshape(len(rows), -1), out=out.reshape(-1))
        return
    order = memory_order(rows.strides[1:])
    ordered = rows.transpose(0, *(axis + 1 for axis in order))
    total = (weights @ ordered.reshape(len(rows), -1)).reshape(ordered.shape[1:])
    out.reshape(rows.shape[1:]).transpose(order)[...] = total


def by_example(weights: Array, error: Array) -> Array:
    """w_n δ_n for every example."""
    return error * weights.reshape(-1, *([1] * (error.ndim - 1)))
