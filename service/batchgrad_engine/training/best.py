"""Keep a copy of the parameters at the best evaluation so far."""

from dataclasses import dataclass
from math import inf

from batchgrad.contract import BestEvaluation, ValidationMetric
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.network import Network


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


def score(metric: ValidationMetric, loss: float, accuracy: float | None) -> float | None:
    """The figure that `metric` names, negated if lower is better; None if undefined."""
    return -loss if metric == "validation_loss" else accuracy


class BestParameters:
    """A copy of θ (P,) at the evaluation with the best `metric`, the first of equals."""

    def __init__(self, metric: ValidationMetric, network: Network, saved: Best | None) -> None:
        """Continue from `saved`, the best of a checkpoint."""
        self._metric = metric
        self._network = network
        self._parameters: Array | None = None
        self._evaluation: BestEvaluation | None = None
        self._score = -inf
        if saved is not None:
            self._parameters = network.flat(saved.parameters)
            self._evaluation = saved.evaluation
            self._score = self._reached(saved.evaluation)

    def observe(
        self, parameters: Array, *, step: int, epoch: int, loss: float, accuracy: float | None
    ) -> bool:
        """Copy `parameters` (P,) if their evaluation is the best so far, and return whether so."""
        reached = score(self._metric, loss, accuracy)
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
            validation_loss=loss,
            validation_accuracy=accuracy,
            parameters_digest="",  # computed in `best`, for a checkpoint
        )
        return True

    def best(self) -> Best | None:
        """The best so far, for a checkpoint; None before the first evaluation."""
        if self._parameters is None or self._evaluation is None:
            return None
        if not self._evaluation.parameters_digest:
            digest = self._network.digest(self._parameters)
            self._evaluation = self._evaluation.model_copy(update={"parameters_digest": digest})
        return Best(self._evaluation, self._network.named(self._parameters))

    def _reached(self, evaluation: BestEvaluation) -> float:
        loss, accuracy = evaluation.validation_loss, evaluation.validation_accuracy
        reached = score(self._metric, loss, accuracy)
        return -inf if reached is None else reached
