"""The shortcuts at one θ: their gradients, for the update that is trained on one, and measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from batchgrad.contract import ShortcutName
from batchgrad_service.engine.comparison import (
    PLACES,
    Comparison,
    Rows,
    Shortcuts,
    agreement,
)
from batchgrad_workers.arrays import Array
from batchgrad_workers.gradients import WEIGHING, WEIGHT, GradientSums
from batchgrad_workers.losses import Loss
from batchgrad_workers.means import MeansLayout
from batchgrad_workers.network import Network

Update = Literal["mean_gradient"] | ShortcutName


@dataclass(frozen=True)
class Averages:
    """What averaging early gives at one θ: pairs (a, δ) by layer, and Σ_m ḡ_m / M (P,)."""

    rows: Rows
    mean_of_means: Array


class Averaging:
    """Works out the shortcuts that are measured, and the one that is trained on."""

    def __init__(self, network: Network, loss: Loss, measured: Sequence[ShortcutName]) -> None:
        self._network = network
        self._means = MeansLayout(network)
        self._shortcuts = Shortcuts(network, loss)
        self._measured = tuple(measured)

    def averages(self, parameters: Array, sums: GradientSums) -> Averages:
        """The shortcuts at θ = `parameters` (P,), from the sums over a minibatch."""
        rows: Rows = {}
        with np.errstate(all="ignore"):
            if sums.means.size:
                means = self._means.means(sums.means, sums.totals[WEIGHT])
                rows = self._shortcuts.rows(self._network.views(parameters), means)
            weighing = sums.microbatch_means.dtype.type(sums.totals[WEIGHING])
            return Averages(rows, sums.microbatch_means / weighing)

    def gradient(self, averages: Averages, name: ShortcutName) -> Array:
        """One shortcut's gradient (P,), for an update along it."""
        if name == "mean_of_means":
            return averages.mean_of_means
        with np.errstate(all="ignore"):
            return self._shortcuts.gradient(averages.rows, PLACES[name])

    def compare(self, gradient: Array, averages: Averages) -> dict[ShortcutName, Comparison]:
        """Every measured shortcut beside G = `gradient` (P,)."""
        found: dict[ShortcutName, Comparison] = {}
        with np.errstate(all="ignore"):
            if not PLACES.keys().isdisjoint(self._measured):
                found = self._shortcuts.compare(gradient, averages.rows)
            if "mean_of_means" in self._measured:
                apart = agreement(gradient, averages.mean_of_means)
                found["mean_of_means"] = Comparison(apart, None)
        return {name: found[name] for name in self._measured}
