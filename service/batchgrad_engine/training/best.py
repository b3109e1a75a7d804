"""Keep a copy of the parameters at the best evaluation so far."""

from dataclasses import dataclass
from math import inf

from batchgrad.contract import (
    VALIDATION_FIGURES,
    BestEvaluation,
    ValidationFigures,
    ValidationMetric,
)
from batchgrad_workers.arrays import Array
from batchgrad_workers.parameters import ParameterLayout


@dataclass(frozen=True)
class Best:
    """The best evaluation, and the parameters that it evaluated, by name."""

    evaluation: BestEvaluation
    parameters: dict[str, Array]

    @property
    def sentence(self) -> str:
        """A sentence for people that names the evaluation."""
        figure = getattr(self.evaluation, self.evaluation.metric)
        return (
            f"The job keeps the parameters after epoch {self.evaluation.epoch}, step "
            f"{self.evaluation.step}: their evaluation has the best "
            f"{self.evaluation.metric}, {figure:.6g}."
        )


def score(metric: ValidationMetric, figures: ValidationFigures) -> float | None:
    """The figure that `metric` names, negated if lower is better; None if undefined."""
    figure: float | None = getattr(figures, metric)
    if figure is None or VALIDATION_FIGURES[metric].higher_is_better:
        return figure
    return -figure


class BestParameters:
    """A copy of θ (P,) at the evaluation with the best `metric`, the first of equals."""

    def __init__(
        self, metric: ValidationMetric, layout: ParameterLayout, saved: Best | None
    ) -> None:
        """Continue from `saved`, the best of a checkpoint."""
        self._metric = metric
        self._layout = layout
        self._parameters: Array | None = None
        self._evaluation: BestEvaluation | None = None
        self._score = -inf
        if saved is not None:
            self._parameters = layout.flat(saved.parameters)
            self._evaluation = saved.evaluation
            self._score = self._reached(saved.evaluation)

    def observe(
        self, parameters: Array, figures: ValidationFigures, *, step: int, epoch: int
    ) -> bool:
        """Copy `parameters` (P,) if their evaluation is the best so far, and return whether so."""
        reached = score(self._metric, figures)
        if reached is None or reached <= self._score:
            return False
        if self._parameters is None:
            self._parameters = parameters.copy()
        else:
            self._parameters[:] = parameters
        self._score = reached
        self._evaluation = BestEvaluation(
            step=step,
            epoch=epoch,
            metric=self._metric,
            **figures.model_dump(),
            parameters_digest="",  # computed in `best`, for a checkpoint
        )
        return True

    def best(self) -> Best | None:
        """The best so far, for a checkpoint; None before the first evaluation."""
        if self._parameters is None or self._evaluation is None:
            return None
        if not self._evaluation.parameters_digest:
            digest = self._layout.digest(self._parameters)
            self._evaluation = self._evaluation.model_copy(update={"parameters_digest": digest})
        return Best(self._evaluation, self._layout.named(self._parameters))

    def _reached(self, evaluation: BestEvaluation) -> float:
        reached = score(self._metric, evaluation)
        return -inf if reached is None else reached
