"""The clipped sum by its definition, g_n by g_n, and batches for it."""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np

from batchgrad.contract import Clipping
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.gradients import Differentiator, Microbatch
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.network import Network
from batchgrad_workers.nn.trainable import TrainableNetwork
from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows
from batchgrad_workers.reduction.sums import GradientSums
from tests.workers.stacks import rows as flat_rows

CLIPPINGS: list[Clipping] = ["flat", "automatic", "per_layer"]
"""To a worker, quantile is flat: C changes between steps."""


def formed(of: Network, theta: Array, batch: Microbatch) -> Floats:
    """g_n (n, P) in float64, from each example by itself."""
    differentiator = Differentiator(of, LOSSES["squared_error"], None, False)
    each = [
        flat_rows(differentiator.each(of.views(theta), batch.part(slice(n, n + 1))))
        for n in range(len(batch.inputs))
    ]
    return np.concatenate(each).astype(np.float64)


def units_of(of: Network, theta: Array, batch: Microbatch, rows: PrivateRows) -> Floats:
    """Σ w_n g_n (u, P) of each unit."""
    weighted = rows.weights[:, None] * formed(of, theta, batch)
    starts = range(len(weighted)) if rows.starts is None else rows.starts
    ends = pairwise([*starts, len(weighted)])
    return np.array([weighted[first:stop].sum(axis=0) for first, stop in ends])


def clipped(of: Network, unit: Floats, rule: ClippingRule) -> Floats:
    """One unit's gradient (P,) after clipping, from the formulas."""
    if not np.isfinite(unit).all():
        return np.zeros(of.size)
    if rule.clipping != "per_layer":
        return shortened(unit, rule.clip_norm, automatic=rule.clipping == "automatic")
    found = np.zeros(of.size)
    for layer in of.learning:
        own = [s for s in of.slices if s.layer == layer]
        part = slice(own[0].start, own[-1].start + own[-1].size)
        found[part] = shortened(unit[part], rule.clip_norm / sqrt(len(of.learning)))
    return found


def shortened(vector: Floats, most: float, *, automatic: bool = False) -> Floats:
    """A vector of at most `most` in length."""
    norm = np.linalg.norm(vector)
    if automatic:
        return vector * (most / (norm + 0.01))
    return vector * (most / norm if norm > most else 1.0)


def by_definition(
    of: Network, theta: Array, batch: Microbatch, rows: PrivateRows, rule: ClippingRule
) -> Floats:
    """Σ c_u Σ w_n g_n (P,), unit by unit."""
    total = np.zeros(of.size)
    for unit in units_of(of, theta, batch, rows):
        total += clipped(of, unit, rule)
    return total


def sums(
    of: Network, theta: Array, batch: Microbatch, rows: PrivateRows, rule: ClippingRule
) -> GradientSums:
    """What a worker computes."""
    model = TrainableNetwork(of, LOSSES["squared_error"])
    return model.clipped_sums(model.load(theta), batch, rows, rule)


def private_rows(examples: int, counts: Sequence[int] | None = None, seed: int = 0) -> PrivateRows:
    """Weights between 0.1 and 3, in units of `counts` rows."""
    weights = np.random.default_rng(seed).uniform(0.1, 3, examples)
    if counts is None:
        return PrivateRows(weights)
    assert sum(counts) == examples
    return PrivateRows(weights, np.cumsum([0, *counts[:-1]]))


def middle_norm(units: Any) -> float:
    """A clip norm that half of the units exceed."""
    return float(np.median(np.linalg.norm(units, axis=1)))
