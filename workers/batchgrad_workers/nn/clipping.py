"""Sums of clipped per-example gradients of a network of layers.

One forward and one backward pass keep every layer's input and error; upper bounds of the norms of
units follow from these, factors from the bounds, and one weighted sum for each layer from the
factors. Units whose bounds leave their range, or whose gradients may, are formed one by one.
"""

from collections.abc import Sequence
from math import frexp
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.nn.formed_units import add_clipped, clipped_lengths, formed_sum
from batchgrad_workers.nn.gradients import Differentiator, Microbatch, Passed
from batchgrad_workers.nn.kernels.norms import RUN, norms
from batchgrad_workers.nn.layers import Parameters
from batchgrad_workers.nn.layers.bounds import Bounded, roundoff
from batchgrad_workers.nn.network import Network
from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows, rounded_down, totals
from batchgrad_workers.reduction.sums import GradientSums


class UnitsOfSize(NamedTuple):
    """Units of `size` rows each: places of the units, and of all their rows, side by side."""

    size: int
    units: slice | Integers
    rows: slice | Integers


LayerBounds = list[list[Bounded]]
"""What layers with parameters add, for each size of units, from the first layer to the last."""


def clipped_sums(
    differentiator: Differentiator,
    views: Sequence[Parameters],
    batch: Microbatch,
    rows: PrivateRows,
    rule: ClippingRule,
) -> GradientSums:
    """Σ c_u Σ_n w_n g_n over the units u of a microbatch: see `Trainable.clipped_sums`.

    Many examples are split in halves, between units, for accuracy.
    """
    examples = len(batch.inputs)
    cut = rows.middle() if examples >= 2 * RUN else None
    if cut is None:
        with np.errstate(over="ignore", invalid="ignore"):
            return _at_once(differentiator, views, batch, rows, rule)
    left, right = (
        clipped_sums(differentiator, views, batch.part(slice(*ends)), rows.part(*ends), rule)
        for ends in ((0, cut), (cut, examples))
    )
    return GradientSums.join(left, right)


def _at_once(
    differentiator: Differentiator,
    views: Sequence[Parameters],
    batch: Microbatch,
    rows: PrivateRows,
    rule: ClippingRule,
) -> GradientSums:
    network, dtype = differentiator.network, batch.weights.dtype
    none = np.empty(0, dtype)
    if not len(batch.inputs):
        return GradientSums(np.zeros(network.size, dtype), np.zeros(3), none, none)
    losses, backward = differentiator.passes(views, batch)
    passed = [each for each in backward if each.layer in network.learning][::-1]
    largest, shares = rows.shares()
    sizes = _by_size(rows)
    bounds = _bounds(network, passed, sizes, shares.astype(dtype))

    lengths = _lengths(bounds, sizes, len(largest), dtype)
    unsure = ~(norms(lengths) <= np.finfo(dtype).max)
    lengths *= largest[:, None]
    apart = np.empty(0)
    if unsure.any():
        apart = np.zeros(network.size)
        for unit in np.flatnonzero(unsure).tolist():
            own = rows.of_unit(unit)
            if all(np.isfinite(each.error[own]).all() for each in passed):
                gradient = formed_sum(differentiator, views, batch, rows.weights, own)
                lengths[unit] = add_clipped(network, gradient, rule, apart)
            else:
                lengths[unit] = np.inf
    whole = norms(lengths)
    lost = ~np.isfinite(whole)
    if lost.any():
        bad = np.repeat(lost, rows.counts())
        cleared = [_without(each, bad) for each in passed]
        bounds = _bounds(network, cleared, sizes, shares.astype(dtype))

    factors = rule.factors(clipped_lengths(rule, lengths, whole))
    factors[unsure] = 0
    total = _weighted(network, bounds, sizes, rows.of_rows(factors), rule, dtype)
    if unsure.any():
        total += apart.astype(dtype)
    return GradientSums(total, totals(rule, rows, losses, whole), none, none)


def _by_size(rows: PrivateRows) -> list[UnitsOfSize]:
    """Units by their number of rows; nothing is copied if all have the same."""
    if rows.starts is None:
        return [UnitsOfSize(1, slice(None), slice(None))]
    found, counts = [], rows.counts()
    numbers = np.unique(counts).tolist()
    if len(numbers) == 1:
        return [UnitsOfSize(numbers[0], slice(None), slice(None))]
    for size in numbers:
        units = np.flatnonzero(counts == size)
        own = rows.starts[units][:, None] + np.arange(size)
        found.append(UnitsOfSize(size, units, own.reshape(-1)))
    return found


def _bounds(
    network: Network, passed: list[Passed], sizes: list[UnitsOfSize], shares: Array
) -> LayerBounds:
    """The weights are `shares` (n,) of the largest of a unit."""
    return [
        [
            network.layers[index].bounded(inputs[rows], error[rows], shares[rows], size)
            for index, inputs, error in passed
        ]
        for size, _, rows in sizes
    ]


def _lengths(bounds: LayerBounds, sizes: list[UnitsOfSize], units: int, dtype: np.dtype) -> Floats:
    """Bounds of ‖Σ w_n g_n‖ (u, layers), weights still divided by their unit's largest."""
    squares: Floats = np.empty((units, len(bounds[0])))
    for own, layers in zip(sizes, bounds, strict=True):
        for place, layer in enumerate(layers):
            squares[own.units, place] = layer.squares
    squares *= 1 + 3 * RUN * roundoff(dtype)  # the rounding of runs of squares and of products
    return np.sqrt(squares, out=squares)


def _weighted(
    network: Network,
    bounds: LayerBounds,
    sizes: list[UnitsOfSize],
    factors: Floats,
    rule: ClippingRule,
    dtype: np.dtype,
) -> Array:
    """Σ_n f_n g_n (P,), from factors (n, l).

    A small C is made about 1 first, by a power of two: factors, and products with them, are then no
    subnormal numbers, which have few digits.
    """
    exponent = max(0, 1 - frexp(rule.clip_norm)[1])
    scaled = rounded_down(np.ldexp(factors, exponent), dtype)
    gradient = np.empty(network.size, dtype)
    for number, (own, layers) in enumerate(zip(sizes, bounds, strict=True)):
        part = np.empty_like(gradient) if number else gradient
        out = network.views(part)
        for place, layer in enumerate(layers):
            column = scaled[own.rows, place if scaled.shape[1] > 1 else 0]
            layer.write(np.ascontiguousarray(column), out[network.learning[place]])
        if number:
            gradient += part
    return np.ldexp(gradient, -exponent) if exponent else gradient


def _without(passed: Passed, bad: npt.NDArray[np.bool_]) -> Passed:
    """Zeros as inputs and errors of the rows that are `bad` (n,), for 0·∞ is not 0."""
    inputs, error = passed.inputs.copy("K"), passed.error.copy("K")
    inputs[bad], error[bad] = 0, 0
    return Passed(passed.layer, inputs, error)
