"""Differential privacy of a job: the budget, the clipping of per-example gradients, the noise."""

from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from batchgrad.contract.wire import Number, Wire

__all__ = ["Accountant", "Clipping", "LossReport", "Privacy", "PrivacyBudget"]

Clipping = Literal["flat", "automatic", "per_layer", "quantile"]
Accountant = Literal["pld", "rdp"]

COUNT_SHARE = 10.0
"""With clipping: quantile, the noise multiplier of a step's count of short gradients, in units of
the whole step's; the gradient pays for it with 0.5% more noise."""


class LossReport(Wire):
    """A noisy training loss, which the budget pays for.

    Each example's loss is cut to 0 … `loss_bound`; the noise multiplier of their sum is `share`
    times that of the whole step.
    """

    loss_bound: Number = Field(gt=0, description="L, the most that one example's loss counts")
    share: Number = Field(
        default=10.0, gt=1, description="10 costs the gradient 0.5% more noise; 2 costs 15%"
    )


class Privacy(Wire):
    """Make the job's parameters (ε, δ) differentially private in the training rows."""

    delta: Number = Field(gt=0, lt=1, description="δ, below 1 / training examples")
    epsilon: Number | None = Field(
        default=None, gt=0, description="ε: the budget; alone, it decides the noise multiplier"
    )
    noise_multiplier: Number | None = Field(
        default=None,
        gt=0,
        description="σ, in units of clip_norm; with epsilon, the job has as many steps as ε allows",
    )
    clip_norm: Number = Field(
        gt=0,
        description="C, the most that one example's weighted gradient counts; with clipping: "
        "quantile, at the first step",
    )
    clipping: Clipping = Field(
        default="flat",
        description="flat: longer gradients are cut to C; automatic: all are scaled by C/(norm + "
        "0.01); per_layer: each layer of L to C/√L; quantile: C follows the norms' median",
    )
    adjacency: Literal["zero_out", "replace"] = Field(
        default="zero_out",
        description="neighbouring datasets differ in a row that becomes nothing, or another row",
    )
    accountant: Accountant = Field(
        default="pld",
        description="privacy loss distributions, or Rényi divergences, a looser bound",
    )
    validation: Literal["public", "noisy"] | None = Field(
        default=None,
        description="whether validation rows are public; if not, only a noisy accuracy is shown",
    )
    report: Literal["none"] | LossReport = Field(
        default="none", description="a noisy training loss at each step, or none"
    )
    unit: Literal["example", "units"] = Field(
        default="example",
        description="what is protected: an example, or all rows of a unit of the dataset's array "
        "units, such as a person",
    )

    @field_validator("accountant", mode="after")
    @classmethod
    def _bounds_the_adjacency(cls, accountant: Accountant, info: ValidationInfo) -> Accountant:
        if accountant == "rdp" and info.data.get("adjacency") == "replace":
            raise ValueError("rdp has no bound for adjacency: replace: use accountant: pld.")
        return accountant

    @field_validator("unit", mode="after")
    @classmethod
    def _counts_whole_units(cls, unit: str, info: ValidationInfo) -> str:
        if unit == "units" and info.data.get("validation") == "noisy":
            raise ValueError(
                "noisy validation hides a single row, not all rows of a unit: hold out public "
                "rows, validation: public, or none."
            )
        return unit

    @field_validator("report", mode="after")
    @classmethod
    def _leaves_some_budget(
        cls, report: Literal["none"] | LossReport, info: ValidationInfo
    ) -> Literal["none"] | LossReport:
        if isinstance(report, LossReport) and info.data.get("clipping") == "quantile":
            left = 1 - COUNT_SHARE**-2 - report.share**-2
            if left <= 0:
                raise ValueError(
                    f"share is {report.share:g}, and clipping: quantile counts gradients too: "
                    "together they leave nothing for the gradient. Raise share, to 10 for example."
                )
        return report

    @model_validator(mode="after")
    def _some_bound(self) -> Self:
        if self.epsilon is None and self.noise_multiplier is None:
            raise ValueError(
                "got neither epsilon nor noise_multiplier: give the budget, epsilon: 2 for "
                "example, or the noise multiplier."
            )
        return self


class PrivacyBudget(Wire):
    """The most ε that private jobs may spend on a dataset's rows, all together."""

    epsilon: Number = Field(gt=0)


_PRIVATE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "standardize": (
        lambda value: not value,
        (
            "mean and deviation would be read off the private rows: scale inputs by public "
            "constants before pushing them, or use layer_norm, which is per example."
        ),
    ),
    "class_weights": (
        lambda value: value != "balanced",
        "balanced counts the private rows: give the weights.",
    ),
    "nonfinite": (
        lambda value: value == "drop",
        "fail would tell that one example overflows: set drop.",
    ),
    "sums": (
        lambda value: value == "full",
        "rounding changes how much a row counts, which the noise would not cover: remove sums.",
    ),
    "shortcuts": (
        lambda value: not value,
        "they are made of means of private rows: remove shortcuts, or set [].",
    ),
    "update": (
        lambda value: value == "mean_gradient",
        "a shortcut is made of means of private rows: remove update.",
    ),
}
"""Keys of a spec beside `privacy`: the values that keep it, and the remedy for others."""


def check_private(key: str, value: Any) -> None:
    """Raise ValueError if this value of a spec's key would tell of private rows."""
    keeps, remedy = _PRIVATE[key]
    if not keeps(value):
        shown = str(value).lower() if isinstance(value, bool) else f"{value!r:.100}"
        raise ValueError(f"{key} is {shown}, and the job is private: {remedy}")
