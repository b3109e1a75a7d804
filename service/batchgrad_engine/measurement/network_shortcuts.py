"""The shortcuts of a network of layers, against G."""

from collections.abc import Sequence

from batchgrad.contract import ShortcutName
from batchgrad_engine.measurement.comparison import compare
from batchgrad_engine.measurement.shortcut_evaluator import ShortcutEvaluator
from batchgrad_engine.measurement.shortcuts import PLACES, Shortcuts
from batchgrad_engine.step_columns import Columns
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.trainable import TrainableNetwork
from batchgrad_workers.runtime.threads import ThreadPool


class NetworkShortcuts(ShortcutEvaluator):
    """Shortcuts of several steps at once, as pairs of inputs and errors of layers."""

    def __init__(
        self, model: TrainableNetwork, measured: Sequence[ShortcutName], pool: ThreadPool
    ) -> None:
        self._network = model.network
        self._means = MeansLayout(model.network)
        self._shortcuts = Shortcuts(model.network, model.loss)
        self._pool = pool
        super().__init__(measured, self._means.size)

    def _pass(self, parameters: Array, means: Array, weight: float, name: ShortcutName) -> Array:
        averages = self._means.means(means[None], weight)
        rows = self._shortcuts.rows(parameters[None], averages)
        return self._shortcuts.gradient(rows, PLACES[name])

    def _compare_passes(
        self, gradients: Array, parameters: Array, means: Array, weights: Floats
    ) -> dict[ShortcutName, Columns]:
        averages = self._means.means(means, weights)
        rows = self._shortcuts.rows(parameters, averages)
        return compare(self._network, gradients, rows, self._pool)
