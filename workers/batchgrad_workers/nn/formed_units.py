"""Gradients of single units, formed in float64, for those whose bounds leave their range."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from batchgrad_workers.arrays import Floats, Integers
from batchgrad_workers.nn.chunks import chunks
from batchgrad_workers.nn.gradients import Differentiator, Microbatch
from batchgrad_workers.nn.kernels.norms import norms, scaled_norms
from batchgrad_workers.nn.layers import Parameters
from batchgrad_workers.nn.network import Network
from batchgrad_workers.reduction.clipping import ClippingRule

LARGER = 2.0**512
"""A factor below 1/LARGER is LARGER times C/‖g‖ first, for it may be a subnormal number."""


def clipped_lengths(rule: ClippingRule, lengths: Floats, whole: Floats) -> Floats:
    """The norms that are clipped: (u, layers), or (u, 1)."""
    return lengths if rule.clipping == "per_layer" else whole[:, None]


def formed_sum(
    differentiator: Differentiator,
    views: Sequence[Parameters],
    batch: Microbatch,
    weights: Floats,
    rows: Integers,
) -> Floats:
    """Σ w_n g_n (P,) over some rows, by its definition, in float64."""
    total = np.zeros(differentiator.network.size)
    for run in chunks(len(rows), total.nbytes):
        own = rows[run]
        each = differentiator.each(views, batch.part(own))
        flat = np.concatenate([part.reshape(len(own), -1) for part in each.values()], axis=1)
        total += weights[own] @ flat.astype(np.float64)
    return total


def add_clipped(network: Network, gradient: Floats, rule: ClippingRule, into: Floats) -> Floats:
    """Add a unit's gradient (P,), clipped, `into` (P,), unless its norm is no finite float64.

    Returns its norms by layer (layers,).
    """
    parts = [
        [part.reshape(1, -1) for part in network.views(gradient)[index].values()]
        for index in network.learning
    ]
    lengths = np.array([scaled_norms(part) for part in parts]).T
    whole = norms(lengths)
    if whole[0] >= np.finfo(np.float64).max:  # `norms` says so of longer ones too
        return np.full(lengths.shape[1], np.inf)
    norms_of_parts = clipped_lengths(rule, lengths, whole)
    factors = rule.factors(norms_of_parts)[0]
    larger = replace(rule, clip_norm=rule.clip_norm * LARGER).factors(norms_of_parts)[0]
    for place, index in enumerate(network.learning):
        column = place if len(factors) > 1 else 0
        small = factors[column] < 1 / LARGER
        for part, total in zip(parts[place], network.views(into)[index].values(), strict=True):
            clipped = larger[column] * part / LARGER if small else factors[column] * part
            np.add(total, clipped.reshape(total.shape), out=total)
    found: Floats = lengths[0]
    return found
