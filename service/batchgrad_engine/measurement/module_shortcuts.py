"""The shortcuts of a PyTorch module, which forms their gradients itself, against G."""

from collections.abc import Sequence
from typing import Any

from batchgrad.contract import ShortcutName
from batchgrad_engine.measurement.comparison import Comparison, compare_formed
from batchgrad_engine.measurement.shortcut_evaluator import ShortcutEvaluator
from batchgrad_engine.measurement.shortcuts import PLACES
from batchgrad_engine.step_columns import Columns, column_tree
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.runtime.threads import ThreadPool
from batchgrad_workers.trainable import MeansTrainable


class ModuleShortcuts(ShortcutEvaluator):
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
    ) -> dict[ShortcutName, Columns]:
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
        return {name: column_tree(figures) for name, figures in found.items()}
