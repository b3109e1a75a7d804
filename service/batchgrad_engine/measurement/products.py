"""Norms and inner products of G_l, F_l and the shortcuts in one layer, for several steps at once.

Norms of differences are taken of the explicit difference: the factored form ‖G‖² - 2⟨G, v⟩ + ‖v‖²
loses half the digits and can go negative. Symbols as in `batched_over_steps`.
"""

from typing import NamedTuple

import numpy as np

from batchgrad_engine.measurement import batched_over_steps
from batchgrad_engine.measurement.shortcuts import FROZEN
from batchgrad_engine.vectors import parallel_for
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.kernels.jit import compiled
from batchgrad_workers.nn.kernels.norms import RUN, norms, squared
from batchgrad_workers.nn.layers import Layer
from batchgrad_workers.runtime.threads import ThreadPool

EXACT, DIFFERENCE, PROPAGATION, INNER, OWN = range(5)
"""Indices into the result of `products`: ‖G‖², ‖G - v‖², ‖F - v‖², ⟨G, v⟩ and ‖v‖²."""


def products(
    layer: Layer, exact: Array, start: int, inputs: Array, errors: Array, pool: ThreadPool
) -> Floats:
    """(s, 5, 3): G compared with v = vjp(a, δ), for `inputs` a and `errors` δ (s, 3, …).

    The layer's parameters begin at `start` in G = `exact` (s, P).
    """
    if batched_over_steps.on_vectors(layer):
        bias = "bias" in layer.parameter_shapes
        return _rank_one(exact, start, Vectors.of(inputs), Vectors.of(errors), bias, pool)
    found = np.zeros((len(inputs), 5, 3))
    for s in range(len(inputs)):
        begin = start
        for gradients in layer.each_gradient(inputs[s], errors[s]).values():
            formed = gradients.reshape(3, -1)
            end = begin + formed.shape[1]
            found[s] += _formed(exact[s, begin:end], formed)
            begin = end
    return found


def _formed(exact: Array, gradients: Array) -> Floats:
    """(5, 3) from a piece of G (m,) and the same piece of the gradients v, (3, m)."""
    found = np.empty((5, 3))
    lost, gap = gradients[FROZEN] - gradients, exact - gradients
    found[EXACT] = squared(exact[None])
    found[DIFFERENCE] = squared(gap)
    found[PROPAGATION] = squared(lost)
    found[INNER] = gradients @ exact
    found[OWN] = squared(gradients)
    return found


class Vectors(NamedTuple):
    """Factors of a layer's v, each (s, 3, m): a or δ, and F's factor minus them."""

    own: Array
    shift: Array
    lengths: Floats
    """‖a‖ or ‖δ‖ (s, 3)."""

    @classmethod
    def of(cls, vectors: Array) -> "Vectors":
        own, exact = np.ascontiguousarray(vectors), vectors.astype(np.float64)
        lengths = norms(exact.reshape(-1, exact.shape[2])).reshape(-1, 3)
        return cls(own, own[:, FROZEN, None] - own, lengths)


def _rank_one(
    exact: Array, start: int, inputs: Vectors, errors: Vectors, bias: bool, pool: ThreadPool
) -> Floats:
    """As `products`, for v = δ aᵀ, one row of v at a time, so that v stays in the cache.

    A bias is one more row, with the factor 1. Rows do not depend on steps or threads, so the
    sums' bits do not either.
    """
    steps, _, width = inputs.own.shape
    outputs = errors.own.shape[2]
    rows = np.empty((steps, outputs + bias, 5, 3))

    def work(block: slice) -> None:
        _rows(exact, start, *inputs, *errors, block.start, block.stop, rows)

    parallel_for(pool, steps * (outputs + bias), work, numbers=width)
    return rows.sum(axis=1)


@compiled
def _rows(
    exact: Array,
    start: int,
    inputs: Array,
    input_shifts: Array,
    input_lengths: Floats,
    errors: Array,
    error_shifts: Array,
    error_lengths: Floats,
    first: int,
    last: int,
    rows: Floats,
) -> None:
    width, outputs = inputs.shape[2], errors.shape[2]
    factors = np.ones(3, exact.dtype)
    for row in range(first, last):
        s, o = divmod(row, rows.shape[1])
        begin, into = start + o * width, rows[s, o]
        if o < outputs:
            for place in range(3):
                factors[place] = errors[s, place, o]
            part = exact[s, begin : begin + width]
            _row(part, factors, inputs[s], input_shifts[s], input_lengths[s], into)
        else:
            for place in range(3):
                factors[place] = 1
            part = exact[s, begin : begin + outputs]
            _row(part, factors, errors[s], error_shifts[s], error_lengths[s], into)


@compiled
def _row(
    exact: Array, factors: Array, own: Array, shifts: Array, lengths: Floats, found: Floats
) -> None:
    """Write (5, 3) of a piece of G (m,) against v = f a, of factors f (3,) and vectors a (3, m)."""
    found[:] = 0
    for start in range(0, len(exact), RUN):
        _run(exact[start : start + RUN], start, factors, own, shifts, found)
    for place in range(3):
        factor = np.float64(factors[place])
        found[INNER, place] *= factor
        found[OWN, place] = (factor * lengths[place]) ** 2


@compiled
def _run(
    exact: Array, start: int, factors: Array, own: Array, shifts: Array, found: Floats
) -> None:
    """Add up what needs all of G's numbers. F - v = (f̄ - f) ā + f (ā - a)."""
    stop = start + len(exact)
    mean, error_mean, example = own[0][start:stop], own[1][start:stop], own[2][start:stop]
    shift_1, shift_2 = shifts[1][start:stop], shifts[2][start:stop]
    f, f_1, f_2 = factors[0], factors[1], factors[2]
    square = difference = difference_1 = difference_2 = exact.dtype.type(0)
    lost_1 = lost_2 = inner = inner_1 = inner_2 = square
    for i in range(len(exact)):
        square += exact[i] * exact[i]
        inner += exact[i] * mean[i]
        inner_1 += exact[i] * error_mean[i]
        inner_2 += exact[i] * example[i]
        apart = exact[i] - f * mean[i]
        difference += apart * apart
        apart = exact[i] - f_1 * error_mean[i]
        difference_1 += apart * apart
        apart = exact[i] - f_2 * example[i]
        difference_2 += apart * apart
        apart = (f - f_1) * mean[i] + f_1 * shift_1[i]
        lost_1 += apart * apart
        apart = (f - f_2) * mean[i] + f_2 * shift_2[i]
        lost_2 += apart * apart
    found[DIFFERENCE, 0] += difference
    found[DIFFERENCE, 1] += difference_1
    found[DIFFERENCE, 2] += difference_2
    found[PROPAGATION, 1] += lost_1
    found[PROPAGATION, 2] += lost_2
    found[INNER, 0] += inner
    found[INNER, 1] += inner_1
    found[INNER, 2] += inner_2
    for place in range(3):
        found[EXACT, place] += square
