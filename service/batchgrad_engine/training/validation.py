"""Evaluate on the validation examples after each epoch: warnings, the best parameters, stopping."""

from math import isfinite
from typing import Any, Literal, Protocol

from batchgrad import contract
from batchgrad.contract import ValidationFigures
from batchgrad_engine.failures import NonFiniteEvaluation
from batchgrad_engine.messages import Evaluated
from batchgrad_engine.reporter import Reporter
from batchgrad_engine.training.best import BestParameters
from batchgrad_engine.training.early_stopping import EarlyStopping
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.sampler import Sampler


class Evaluates(Protocol):
    """A coordinator as validation needs it."""

    parameters: Array

    def evaluate(self) -> ValidationFigures:
        """The figures of θ on the validation examples."""


class Validation:
    """Evaluates once after an epoch's last step, and once after the job's last step."""

    def __init__(
        self,
        coordinator: Evaluates,
        reporter: Reporter,
        sampler: Sampler,
        *,
        steps_planned: int,
        best: BestParameters | None,
        early_stopping: contract.EarlyStopping | None,
        nonfinite: Literal["fail", "drop"],
    ) -> None:
        """`best` keeps the best parameters, None if the job keeps the last ones."""
        self.best = best
        self._coordinator = coordinator
        self._reporter = reporter
        self._sampler = sampler
        self._steps_planned = steps_planned
        self._stopping = EarlyStopping(early_stopping)
        self._nonfinite = nonfinite
        self._evaluated_step = 0

    @property
    def stop_reason(self) -> str | None:
        """Why to stop early; None to continue."""
        return self._stopping.reason

    def run_if_due(self, step: int) -> None:
        """Evaluate if `step` completed steps end an epoch, unless that was done already.

        Raises:
            NonFiniteEvaluation: the loss is not finite, and the job does not drop such examples.
        """
        ends_epoch = step == self._steps_planned or step % self._sampler.steps_per_epoch == 0
        if ends_epoch and step > self._evaluated_step:
            self._evaluate(step)
            self._evaluated_step = step

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, as JSON values."""
        return {"step": self._evaluated_step, "early_stopping": self._stopping.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._evaluated_step = state["step"]
        self._stopping.restore(state["early_stopping"])

    def train_on(self) -> None:
        """Train on after an early stop, because the user wants more."""
        self._stopping.train_on()

    def _evaluate(self, step: int) -> None:
        figures = self._coordinator.evaluate()
        loss = figures.validation_loss
        if loss is None and figures.validation_accuracy is None:
            return
        if loss is not None and not isfinite(loss):
            problem = NonFiniteEvaluation(step)
            if self._nonfinite == "fail":
                raise problem
            self._reporter.warn(step, str(problem), of="evaluation")
            return
        epoch = self._sampler.epoch(step - 1) + 1
        best = self.best is not None and self.best.observe(
            self._coordinator.parameters, figures, step=step, epoch=epoch
        )
        self._reporter.evaluated(
            Evaluated(step=step, epoch=epoch, best=best, **figures.model_dump())
        )
        self._stopping.observe(epoch, figures)
