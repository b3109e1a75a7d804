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
from batchgrad_workers.nn.kernels.comparison import (
    DIFFERENCE,
    EXACT,
    INNER,
    OWN,
    PROPAGATION,
    rank_one_products,
)
from batchgrad_workers.nn.kernels.norms import norms, squared
from batchgrad_workers.nn.layers import Layer
from batchgrad_workers.runtime.threads import ThreadPool


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
        rank_one_products(exact, start, *inputs, *errors, block.start, block.stop, rows)

    parallel_for(pool, steps * (outputs + bias), work, numbers=width)
    return rows.sum(axis=1)
