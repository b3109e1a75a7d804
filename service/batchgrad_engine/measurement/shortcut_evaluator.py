"""Evaluate a job's shortcuts: the one that updates θ, and those that are compared with G."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from batchgrad.contract import ShortcutName
from batchgrad_engine.measurement.comparison import Comparison, agreements, compare
from batchgrad_engine.measurement.shortcuts import PLACES, Shortcuts
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.gradients import WEIGHING, WEIGHT, GradientSums
from batchgrad_workers.nn.losses import Loss
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.network import Network
from batchgrad_workers.runtime.threads import ThreadPool

Update = Literal["mean_gradient"] | ShortcutName


class ShortcutEvaluator:
    """Computes one step's shortcut for the update, and several steps' shortcuts to compare them."""

    def __init__(
        self, network: Network, loss: Loss, measured: Sequence[ShortcutName], pool: ThreadPool
    ) -> None:
        self._network = network
        self._means = MeansLayout(network)
        self._shortcuts = Shortcuts(network, loss)
        self._measured = tuple(measured)
        self._pool = pool
        self.compares_passes = not PLACES.keys().isdisjoint(measured)
        self.compares_means = "mean_of_means" in measured

    def means_bytes(self, dtype: DTypeLike, update: Update) -> int:
        """Bytes of a step's mean inputs and errors; 0 if no shortcut needs them."""
        needed = self.compares_passes or update in PLACES
        return self._means.size * np.dtype(dtype).itemsize if needed else 0

    def gradient(self, parameters: Array, sums: GradientSums, name: ShortcutName) -> Array:
        """One shortcut's gradient (P,) at θ = `parameters` (P,), for an update along it."""
        if name == "mean_of_means":
            total = sums.microbatch_means
            return total / total.dtype.type(sums.totals[WEIGHING])
        means = self._means.means(sums.means[None], sums.totals[WEIGHT])
        rows = self._shortcuts.rows(parameters[None], means)
        return self._shortcuts.gradient(rows, PLACES[name])

    def compare(
        self,
        gradients: Array,
        parameters: Array,
        means: Array,
        microbatch_means: Array,
        totals: Floats,
    ) -> list[dict[ShortcutName, Comparison]]:
        """Compare every measured shortcut with G = `gradients` (s, P), for each step.

        `parameters` (s, P) is θ; the others are fields of `GradientSums` with the axis s.
        """
        found: dict[ShortcutName, list[Comparison]] = {}
        with np.errstate(all="ignore"):
            if self.compares_passes:
                averages = self._means.means(means, totals[:, WEIGHT, None])
                rows = self._shortcuts.rows(parameters, averages)
                found |= compare(self._network, gradients, rows, self._pool)
            if self.compares_means:
                weighing = totals[:, WEIGHING, None].astype(microbatch_means.dtype)
                apart = agreements(gradients, microbatch_means / weighing)
                found["mean_of_means"] = [{**figures, "layers": None} for figures in apart]
        return [{name: found[name][s] for name in self._measured} for s in range(len(gradients))]
