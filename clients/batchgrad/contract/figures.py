"""The figures of a step and of an evaluation, each declared once.

A step's figure has a type, a name, help, a unit and a function. A figure that is added to
`StepFigures` stands in each step's row, in the job and its events, at /metrics, in /docs, on the
job's page (value and chart), and in `batchgrad get` and `batchgrad steps`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import Field

from batchgrad.contract.wire import Answer

__all__ = [
    "FIGURES",
    "VALIDATION_FIGURES",
    "Figure",
    "MeasuredStep",
    "StepFigures",
    "ValidationFigure",
    "ValidationFigures",
    "ValidationMetric",
]

ValidationMetric = Literal[
    "validation_loss", "validation_accuracy", "validation_r2", "validation_rmse"
]


class MeasuredStep(NamedTuple):
    """A step as the engine has measured it: what figures are functions of. Arrays are numpy's.

    n examples that count, with weights w_n and gradients g_n at the parameters θ (P,) before the
    update; G = Σ w_n g_n / Σ w_n.
    """

    loss: float | None
    """Weighted mean over the examples; None where all weights are 0."""
    weight: float
    """Σ w_n."""
    learning_rate: float
    gradient_norm: float
    """‖G‖."""
    trace: float | None
    """tr Σ, the variance of a single example's gradient; None where it can't be estimated."""
    signal: float | None
    """Estimate of ‖∇J‖² without the noise's part, so it can be negative; None as above."""
    noise_scale: float | None
    """Ratio of trace and signal, each smoothed over the steps; None without a positive signal."""
    norms: Any
    """‖g_n‖ (n,), float64."""
    gradient: Any
    """G (P,), in the job's precision."""
    parameters: Any
    """θ (P,), in the job's precision."""
    shortcuts: Mapping[str, Any]
    """By name the keys of `LayeredShortcut`; none where all weights are 0."""


Function = Callable[[MeasuredStep], float | None]


@dataclass(frozen=True)
class Figure:
    """What is declared of a figure.

    Attributes:
        help: what it is, a sentence without its full stop.
        function: its value, computed by the engine; None, nan and infinities become null. An
            exception ends the job.
        unit: the unit of its value, such as examples; "" for none.
        name: the name of its field, which `FIGURES` fills in.
        metric: its name in Prometheus after `batchgrad_job_`; by default `name`.
        labels: its labels in Prometheus besides job_id.
        log: whether its chart has a logarithmic scale.
        always: whether each row has a number. Otherwise it may be null, as it is in the rows of a
            version that did not have the figure.
    """

    help: str
    function: Function
    unit: str = ""
    name: str = ""
    metric: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    log: bool = False
    always: bool = False

    @property
    def label(self) -> str:
        """Its name for people: noise scale."""
        return self.name.replace("_", " ")

    @property
    def text(self) -> str:
        """Its help and unit, as sentences."""
        return f"{self.help}. Unit: {self.unit}." if self.unit else f"{self.help}."

    def __call__(self, schema: dict[str, Any]) -> None:
        """Add the unit to the field's JSON schema; pydantic calls this."""
        if self.unit:
            schema["x-unit"] = self.unit


def declare(figure: Figure) -> Any:
    """The pydantic field of a figure."""
    required: dict[str, Any] = {} if figure.always else {"default": None}
    return Field(**required, description=figure.text, json_schema_extra=figure)


Always = TypeVar("Always", float, float | None)
"""A number in each row; None in a job before its first step."""


class StepFigures(Answer, Generic[Always]):
    """The figures of one step."""

    loss: float | None = declare(
        Figure(
            "Mean loss, in the loss's own unit; in training the minibatch's, before the update",
            lambda step: step.loss,
            labels={"split": "train"},
        )
    )
    learning_rate: Always = declare(
        Figure("Learning rate of the update", lambda step: step.learning_rate, always=True)
    )
    gradient_norm: Always = declare(
        Figure(
            "Norm of the mean gradient, before clipping",
            lambda step: step.gradient_norm,
            log=True,
            always=True,
        )
    )
    noise_scale: float | None = declare(
        Figure(
            "Simple noise scale, smoothed over steps: smaller minibatches are mostly noise, much "
            "larger ones gain little; undetermined while the signal is not positive",
            lambda step: step.noise_scale,
            unit="examples",
            metric="gradient_noise_scale",
            log=True,
        )
    )


FIGURES: Mapping[str, Figure] = {
    name: replace(figure, name=name, metric=figure.metric or name)
    for name, declared in StepFigures.model_fields.items()
    if isinstance(figure := declared.json_schema_extra, Figure)
}
"""Each figure by its name, in their order."""


@dataclass(frozen=True)
class ValidationFigure:
    """What is declared of a figure of an evaluation.

    Attributes:
        help: what it is, a sentence without its full stop.
        label: its name for people.
        metric: its name in Prometheus after `batchgrad_job_`, where its label split is validation.
        higher_is_better: whether the best parameters have the highest.
        percent: whether it is a part of 1.
    """

    help: str
    label: str
    metric: str
    higher_is_better: bool = True
    percent: bool = False


VALIDATION_FIGURES: Mapping[ValidationMetric, ValidationFigure] = {
    "validation_loss": ValidationFigure(
        "Mean loss, weighted as in training", "validation loss", "loss", higher_is_better=False
    ),
    "validation_accuracy": ValidationFigure(
        "Newest fraction of examples classified correctly",
        "validation accuracy",
        "accuracy",
        percent=True,
    ),
    "validation_r2": ValidationFigure(
        "Coefficient of determination of a regression, the mean over its outputs",
        "validation R²",
        "r2",
    ),
    "validation_rmse": ValidationFigure(
        "Root mean squared error of a regression, in the targets' unit, the mean over its outputs",
        "validation RMSE",
        "rmse",
        higher_is_better=False,
    ),
}
"""Each figure of an evaluation by its name, in their order."""


class ValidationFigures(Answer):
    """The figures of an evaluation; null where undefined.

    Loss, R² and RMSE are weighted as in training, the accuracy counts every example equally.
    """

    validation_loss: float | None
    validation_accuracy: float | None
    validation_r2: float | None = None
    validation_rmse: float | None = None
