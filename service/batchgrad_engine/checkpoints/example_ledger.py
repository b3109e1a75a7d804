"""The example ledger: each example's losses and gradient norms over a whole run.

Losses and gradient norms are the example's own, without its weight, at the parameters of the step
that used it. The ledger holds sums in float64; the reader divides them to get means.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Integers

LedgerColumns = dict[str, npt.NDArray[Any]]
COLUMNS: dict[str, Any] = {
    "times_seen": np.int64,
    "loss_sum": np.float64,
    "norm_sum": np.float64,
    "last_loss": np.float64,
    "last_norm": np.float64,
}
"""40 bytes per example."""


class Ledger:
    """One row per example, in the dataset's order; rows of examples not used yet are 0."""

    def __init__(self, examples: int) -> None:
        """Create rows for a dataset of `examples` examples."""
        self._columns: LedgerColumns = {
            name: np.zeros(examples, kind) for name, kind in COLUMNS.items()
        }

    def add(self, ids: Integers, losses: Array, norms: Array) -> None:
        """Add ℓ_n (n,) and ‖g_n‖ (n,) of the examples `ids` (n,).

        They may be of several consecutive steps: the last figures of a repeated example stay.
        """
        columns = self._columns
        losses, norms = losses.astype(np.float64), norms.astype(np.float64)
        np.add.at(columns["times_seen"], ids, 1)
        np.add.at(columns["loss_sum"], ids, losses)
        np.add.at(columns["norm_sum"], ids, norms)
        columns["last_loss"][ids] = losses
        columns["last_norm"][ids] = norms

    def state(self) -> LedgerColumns:
        """Columns by name, for a checkpoint; the arrays themselves, not copies."""
        return self._columns

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from what `state` returned."""
        for name, column in self._columns.items():
            np.copyto(column, state[name])
