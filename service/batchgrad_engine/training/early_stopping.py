"""Stop a job that has learned all it will, by a validation figure, once an epoch."""

from math import inf
from typing import Any

from batchgrad import contract
from batchgrad_engine.training.best import score


class EarlyStopping:
    """Counts the evaluations since the figure was last better, by more than `min_delta`.

    Better is lower for the loss, higher for the accuracy. `reason` says why to stop, None while
    there is none. Without a spec there never is one.
    """

    def __init__(self, spec: contract.EarlyStopping | None) -> None:
        self.reason: str | None = None
        self._spec = spec
        self._best = -inf
        self._best_epoch = 0
        self._waited = 0

    def observe(self, epoch: int, loss: float, accuracy: float | None) -> None:
        """Take in the figures after `epoch`, counted from 1."""
        if self._spec is None:
            return
        reached = score(self._spec.metric, loss, accuracy)
        if reached is None:
            return
        if reached > self._best + self._spec.min_delta:
            self._best, self._best_epoch, self._waited = reached, epoch, 0
        else:
            self._waited += 1
        if self._waited >= self._spec.patience:
            self.reason = (
                f"Stopped early after epoch {epoch}: no evaluation since that after epoch "
                f"{self._best_epoch} ({self._spec.metric}, {abs(self._best):.6g}) was better by "
                f"more than {self._spec.min_delta:g} "
                f"(early_stopping.patience = {self._spec.patience})."
            )

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON; floats come back with the same bits."""
        best = None if self._best == -inf else self._best
        return {
            "best": best,
            "best_epoch": self._best_epoch,
            "waited": self._waited,
            "reason": self.reason,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        self._best = -inf if state["best"] is None else state["best"]
        self._best_epoch, self._waited = state["best_epoch"], state["waited"]
        self.reason = state["reason"]
