"""The shortcuts that a job wants: one that θ moves along, and those that are measured."""

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
    """Works out the shortcuts of one step for its update, and of several to measure them."""

    def __init__(
        self, network: Network, loss: Loss, measured: Sequence[ShortcutName], team: ThreadPool
    ) -> None:
        self._network = network
        self._means = MeansLayout(network)
        self._shortcuts = Shortcuts(network, loss)
        self._measured = tuple(measured)
        self._team = team
        self.compares_passes = not PLACES.keys().isdisjoint(measured)
        self.compares_means = "mean_of_means" in measured

    def means_bytes(self, dtype: DTypeLike, update: Update) -> int:
        """What a step's mean inputs and errors take; 0 where nothing needs them."""
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
        """Every measured shortcut beside G = `gradients` (s, P), for each step.

        `parameters` (s, P) are its θ, the others its `GradientSums`, each with the axis s.
        """
        found: dict[ShortcutName, list[Comparison]] = {}
        with np.errstate(all="ignore"):
            if self.compares_passes:
                averages = self._means.means(means, totals[:, WEIGHT, None])
                rows = self._shortcuts.rows(parameters, averages)
                found |= compare(self._network, gradients, rows, self._team)
            if self.compares_means:
                weighing = totals[:, WEIGHING, None].astype(microbatch_means.dtype)
                apart = agreements(gradients, microbatch_means / weighing)
                found["mean_of_means"] = [{**figures, "layers": None} for figures in apart]
        return [{name: found[name][s] for name in self._measured} for s in range(len(gradients))]
