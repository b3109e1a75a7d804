"""The shortcuts at one θ: their gradients, for the update that is trained on one, and measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from batchgrad.contract import ShortcutName
from batchgrad_service.engine.comparison import Comparison, Shortcuts, agreement, compare
from batchgrad_workers.arrays import Array
from batchgrad_workers.gradients import WEIGHING, WEIGHT, GradientSums
from batchgrad_workers.losses import Loss
from batchgrad_workers.means import MeansLayout
from batchgrad_workers.network import Network

Update = Literal["mean_gradient"] | ShortcutName


@dataclass(frozen=True)
class Averages:
    """What averaging early gives: each shortcut's gradient (P,), and F (P,) if it is needed."""

    shortcuts: dict[ShortcutName, Array]
    frozen: Array | None


class Averaging:
    """Works out the shortcuts that are measured, and the one that is trained on."""

    def __init__(
        self, network: Network, loss: Loss, measured: Sequence[ShortcutName], update: Update
    ) -> None:
        self._network = network
        self._means = MeansLayout(network)
        self._shortcuts = Shortcuts(network, loss)
        self._measured = tuple(measured)
        self._wanted = {*measured, update}

    def gradients(self, parameters: Array, sums: GradientSums) -> Averages:
        """The shortcuts' gradients at θ = `parameters` (P,), from the sums over a minibatch."""
        found: dict[ShortcutName, Array] = {}
        frozen = None
        views = self._network.views(parameters)
        with np.errstate(all="ignore"):
            if sums.means.size:
                means = self._means.means(sums.means, sums.totals[WEIGHT])
                frozen = self._shortcuts.frozen(means)
                if "averaged_error" in self._wanted:
                    found["averaged_error"] = self._shortcuts.averaged_error(views, means)
                if "mean_example" in self._wanted:
                    found["mean_example"] = self._shortcuts.mean_example(views, means)
            if "mean_of_means" in self._wanted:
                microbatches = sums.microbatch_means.dtype.type(sums.totals[WEIGHING])
                found["mean_of_means"] = sums.microbatch_means / microbatches
        return Averages(found, frozen)

    def compare(self, gradient: Array, averages: Averages) -> dict[ShortcutName, Comparison]:
        """Every measured shortcut beside G = `gradient` (P,)."""
        found: dict[ShortcutName, Comparison] = {}
        with np.errstate(all="ignore"):
            for name in self._measured:
                shortcut = averages.shortcuts[name]
                if name == "mean_of_means" or averages.frozen is None:
                    found[name] = Comparison(agreement(gradient, shortcut), None)
                else:
                    found[name] = compare(self._network, gradient, averages.frozen, shortcut)
        return found
