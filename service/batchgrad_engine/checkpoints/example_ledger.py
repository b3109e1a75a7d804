"""The example ledger: what every example of the dataset did over a whole run.

Losses and gradient norms are an example's own, without its weight, at the parameters of the step
that saw it. Means are running sums in float64, divided when they are read.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Integers

Columns = dict[str, npt.NDArray[Any]]
COLUMNS: dict[str, Any] = {
    "times_seen": np.int64,
    "loss_sum": np.float64,
    "norm_sum": np.float64,
    "last_loss": np.float64,
    "last_norm": np.float64,
}
"""40 bytes an example."""


class Ledger:
    """One row an example, in the dataset's order; examples that no minibatch held stay at 0."""

    def __init__(self, examples: int) -> None:
        """Rows for a dataset of so many examples."""
        self._columns: Columns = {name: np.zeros(examples, kind) for name, kind in COLUMNS.items()}

    def add(self, ids: Integers, losses: Array, norms: Array) -> None:
        """Enter examples `ids` (n,), their ℓ_n (n,) and ‖g_n‖ (n,).

        They may be several steps' in a row: of an example that comes again the last figures stay.
        """
        columns = self._columns
        losses, norms = losses.astype(np.float64), norms.astype(np.float64)
        np.add.at(columns["times_seen"], ids, 1)
        np.add.at(columns["loss_sum"], ids, losses)
        np.add.at(columns["norm_sum"], ids, norms)
        columns["last_loss"][ids] = losses
        columns["last_norm"][ids] = norms

    def state(self) -> Columns:
        """What a checkpoint keeps, by name; the arrays themselves, not copies."""
        return self._columns

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what `state` gave."""
        for name, column in self._columns.items():
            np.copyto(column, state[name])
