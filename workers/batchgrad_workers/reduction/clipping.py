"""Clipping: by which factor each unit's weighted gradient counts in a private sum.

A unit is an example, or all examples of one person in the minibatch; g is the sum of its weighted
gradients. Flat: c = min(1, C/‖g‖) (Abadi et al. 2016). Automatic: c = C/(‖g‖ + 0.01) (Bu et al.
2023). Per layer: each of L layers is cut to C/√L by itself (McMahan et al. 2018). Quantile: flat,
with a C that follows the norms (Andrew et al. 2021).
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from batchgrad.contract import Clipping
from batchgrad_workers.arrays import Array, Floats, Integers

STABILISER = 0.01
"""γ of automatic clipping."""

CLIPPED_LOSS, UNCLIPPED = 0, 1
"""Indices into the `totals` of private sums: Σ of losses within 0 … L, and units with ‖g‖ ≤ C."""


@dataclass(frozen=True)
class ClippingRule:
    """How a step's gradients are clipped.

    `clip_norm` is C; `loss_bound` is L, None if no loss is reported.
    """

    clipping: Clipping
    clip_norm: float
    loss_bound: float | None = None

    def factors(self, norms: Floats) -> Floats:
        """Factors c (u, l) from upper bounds of ‖g‖ (u, l); l is 1 unless clipping is per layer.

        0 for a gradient that is not finite: that unit adds nothing.
        """
        bound = self.clip_norm / sqrt(norms.shape[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.clipping == "automatic":
                found = bound / (norms + STABILISER)
            else:
                found = np.minimum(1.0, bound / norms)
        return np.where(np.isfinite(norms).all(axis=1, keepdims=True), found, 0.0)


@dataclass(frozen=True)
class PrivateRows:
    """The units of a microbatch's rows.

    `weights` (n,) are w_n themselves, not scaled. `starts` (u,) are the first rows of the units,
    whose rows are side by side; None if each row is a unit.
    """

    weights: Floats
    starts: Integers | None = None

    def counts(self) -> Integers:
        """The number of rows (u,) of each unit."""
        starts = np.arange(len(self.weights)) if self.starts is None else self.starts
        return np.diff(starts, append=len(self.weights))

    def of_unit(self, unit: int) -> Integers:
        """The rows of one unit."""
        if self.starts is None:
            return np.array([unit])
        ends = [*self.starts[unit : unit + 2], len(self.weights)]
        return np.arange(ends[0], ends[1])

    def part(self, first: int, stop: int) -> "PrivateRows":
        """Rows [first, stop), which cut no unit."""
        if self.starts is None:
            return PrivateRows(self.weights[first:stop])
        own = self.starts[(self.starts >= first) & (self.starts < stop)]
        return PrivateRows(self.weights[first:stop], own - first)

    def middle(self) -> int | None:
        """The first row of a unit, near the middle; None if there is one unit only."""
        half = len(self.weights) // 2
        if self.starts is None:
            return half or None
        after = self.starts[np.searchsorted(self.starts, half, side="right") - 1 :]
        return next((int(start) for start in after if start), None)

    def shares(self) -> tuple[Floats, Floats]:
        """Each unit's largest weight (u,), 1 if all are 0, and w_n divided by it (n,)."""
        if self.starts is None:
            return self.weights, np.ones_like(self.weights)
        largest = np.maximum.reduceat(self.weights, self.starts)
        largest[largest == 0] = 1.0
        return largest, self.weights / np.repeat(largest, self.counts())

    def of_rows(self, factors: Floats) -> Floats:
        """w_n times the factor of its unit, (n, l), from factors (u, l)."""
        if self.starts is None:
            return self.weights[:, None] * factors
        return self.weights[:, None] * np.repeat(factors, self.counts(), axis=0)

    def unit_sums(self, rows: Floats) -> Floats:
        """Sums (u, …) over each unit's rows (n, …)."""
        return rows if self.starts is None else np.add.reduceat(rows, self.starts, axis=0)


def rounded_down(factors: Floats, dtype: np.dtype) -> Array:
    """The factors (n, …) in `dtype`, none of them larger than before."""
    with np.errstate(over="ignore"):  # the largest number of the type is smaller
        found = factors.astype(dtype)
    return np.where(found > factors, np.nextafter(found, dtype.type(0)), found)


def totals(rule: ClippingRule, rows: PrivateRows, losses: Array, norms: Floats) -> Floats:
    """`totals` (3,) of a microbatch from ℓ_n (n,) and ‖g‖ (u,), which no factor has shortened."""
    found = np.zeros(3)
    counted = np.isfinite(norms)
    if rule.loss_bound is not None:
        own = rows.unit_sums(np.clip(losses.astype(np.float64), 0, rule.loss_bound))
        found[CLIPPED_LOSS] = np.minimum(own, rule.loss_bound)[counted & np.isfinite(own)].sum()
    found[UNCLIPPED] = (norms <= rule.clip_norm).sum()
    return found
