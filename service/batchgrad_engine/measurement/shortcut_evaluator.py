"""Evaluation of a job's shortcuts: the one that updates θ, and those that are compared with G."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from batchgrad.contract import ShortcutName
from batchgrad_engine.measurement.comparison import agreements
from batchgrad_engine.measurement.shortcuts import PLACES
from batchgrad_engine.step_columns import Columns
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.reduction.sums import WEIGHING, WEIGHT, GradientSums

Update = Literal["mean_gradient"] | ShortcutName


class ShortcutEvaluator(ABC):
    """Computes one step's shortcut for the update, and several steps' shortcuts to compare them."""

    def __init__(self, measured: Sequence[ShortcutName], means_size: int) -> None:
        """`means_size` is the length of `GradientSums.means`."""
        self._measured = tuple(measured)
        self._means_size = means_size
        self.compares_passes = not PLACES.keys().isdisjoint(measured)
        self.compares_means = "mean_of_means" in measured

    def means_bytes(self, dtype: DTypeLike, update: Update) -> int:
        """Bytes of a step's mean inputs and errors; 0 if no shortcut needs them."""
        needed = self.compares_passes or update in PLACES
        return self._means_size * np.dtype(dtype).itemsize if needed else 0

    def gradient(self, parameters: Array, sums: GradientSums, name: ShortcutName) -> Array:
        """One shortcut's gradient (P,) at θ = `parameters` (P,), for an update along it."""
        if name == "mean_of_means":
            total = sums.microbatch_means
            return total / total.dtype.type(sums.totals[WEIGHING])
        return self._pass(parameters, sums.means, float(sums.totals[WEIGHT]), name)

    def compare(
        self,
        gradients: Array,
        parameters: Array,
        means: Array,
        microbatch_means: Array,
        totals: Floats,
    ) -> dict[ShortcutName, Columns]:
        """Compare every measured shortcut with G = `gradients` (s, P): `Comparison`s by columns.

        `parameters` (s, P) is θ; the others are fields of `GradientSums` with the axis s.
        """
        found: dict[ShortcutName, Columns] = {}
        with np.errstate(all="ignore"):
            if self.compares_passes:
                found |= self._compare_passes(gradients, parameters, means, totals[:, WEIGHT, None])
            if self.compares_means:
                weighing = totals[:, WEIGHING, None].astype(microbatch_means.dtype)
                apart = agreements(gradients, microbatch_means / weighing)
                found["mean_of_means"] = {**apart, "layers": None}
        return {name: found[name] for name in self._measured}

    @abstractmethod
    def _pass(self, parameters: Array, means: Array, weight: float, name: ShortcutName) -> Array:
        """The gradient (P,) of a shortcut that passes means through the model."""

    @abstractmethod
    def _compare_passes(
        self, gradients: Array, parameters: Array, means: Array, weights: Floats
    ) -> dict[ShortcutName, Columns]:
        """Compare those shortcuts; `weights` (s, 1) are Σ w_n of each step."""
