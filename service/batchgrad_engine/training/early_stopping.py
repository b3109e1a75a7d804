"""Early stopping: end a job whose validation figure no longer improves."""

from math import inf
from typing import Any

from batchgrad import contract
from batchgrad.contract import ValidationFigures
from batchgrad_engine.training.best import score


class EarlyStopping:
    """Counts the evaluations since the figure last improved by more than `min_delta`.

    `reason` says why to stop; None to continue, and always None without a spec.
    """

    def __init__(self, spec: contract.EarlyStopping | None) -> None:
        self.reason: str | None = None
        self._spec = spec
        self._best = -inf
        self._best_epoch = 0
        self._waited = 0

    def observe(self, epoch: int, figures: ValidationFigures) -> None:
        """Add the figures of the evaluation after `epoch`, counted from 1."""
        if self._spec is None:
            return
        reached = score(self._spec.metric, figures)
        if reached is None:
            return
        if reached > self._best + self._spec.min_delta:
            self._best, self._best_epoch, self._waited = reached, epoch, 0
        else:
            self._waited += 1
        if self._waited >= self._spec.patience:
            self.reason = (
                f"Stopped early after epoch {epoch}: no evaluation since the one after epoch "
                f"{self._best_epoch} ({self._spec.metric}, {abs(self._best):.6g}) was better by "
                f"more than {self._spec.min_delta:g} "
                f"(early_stopping.patience = {self._spec.patience})."
            )

    def train_on(self) -> None:
        """After a stop, wait for the whole patience again; the best figure stays the reference."""
        if self.reason is not None:
            self.reason, self._waited = None, 0

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, as JSON values; floats keep their bits."""
        best = None if self._best == -inf else self._best
        return {
            "best": best,
            "best_epoch": self._best_epoch,
            "waited": self._waited,
            "reason": self.reason,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._best = -inf if state["best"] is None else state["best"]
        self._best_epoch, self._waited = state["best_epoch"], state["waited"]
        self.reason = state["reason"]
