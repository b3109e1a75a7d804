"""The shortcuts of a network of layers, and of a PyTorch module, against G."""

from collections.abc import Sequence
from typing import Any

from batchgrad.contract import ShortcutName
from batchgrad_engine.measurement.comparison import Comparison, compare, compare_formed
from batchgrad_engine.measurement.shortcut_evaluator import ShortcutEvaluator
from batchgrad_engine.measurement.shortcuts import PLACES, Shortcuts
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.trainable import TrainableNetwork
from batchgrad_workers.runtime.threads import ThreadPool
from batchgrad_workers.trainable import MeansTrainable


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
    ) -> dict[ShortcutName, list[Comparison]]:
        averages = self._means.means(means, weights)
        rows = self._shortcuts.rows(parameters, averages)
        return compare(self._network, gradients, rows, self._pool)


class FormedShortcuts(ShortcutEvaluator):
    """Shortcuts of one step after the other, as gradients that the model forms."""

    def __init__(
        self, model: MeansTrainable, measured: Sequence[ShortcutName], pool: ThreadPool, row: Any
    ) -> None:
        """`row` is a batch of any one example."""
        self._model = model
        self._row = row
        self._pool = pool
        super().__init__(measured, model.means_size)

    def _pass(self, parameters: Array, means: Array, weight: float, name: ShortcutName) -> Array:
        return self._formed(parameters, means, weight, [name])[name][1]

    def _formed(
        self, parameters: Array, means: Array, weight: float, names: Sequence[ShortcutName]
    ) -> dict[ShortcutName, tuple[Array, Array]]:
        return self._model.shortcut_gradients(
            parameters, self._row, means, weight, names, self._pool.run
        )

    def _compare_passes(
        self, gradients: Array, parameters: Array, means: Array, weights: Floats
    ) -> dict[ShortcutName, list[Comparison]]:
        names = [name for name in self._measured if name in PLACES]
        found: dict[ShortcutName, list[Comparison]] = {name: [] for name in names}
        for s in range(len(gradients)):
            formed = self._formed(parameters[s], means[s], float(weights[s, 0]), names)

            def compare_one(number: int, s: int = s, formed: Any = formed) -> None:
                frozen, shortcut = formed[names[number]]
                found[names[number]].append(
                    compare_formed(self._model.layout, gradients[s], frozen, shortcut)
                )

            self._pool.run(range(len(names)), compare_one)
        return found
