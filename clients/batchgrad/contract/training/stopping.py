"""Early stopping, the choice of the parameters that a job keeps, and the request to resume it."""

from typing import Literal, Self

from pydantic import Field, model_validator

from batchgrad.contract.figures import ValidationMetric
from batchgrad.contract.wire import Integer, Number, Wire

__all__ = ["EarlyStopping", "Kept", "ResumeRequest"]

Kept = Literal["best", "last"]


class EarlyStopping(Wire):
    """Stop when `metric` has not improved by more than `min_delta` for `patience` epochs."""

    metric: ValidationMetric = "validation_loss"
    patience: Integer = Field(default=5, ge=1)
    min_delta: Number = Field(default=0.0, ge=0)


class ResumeRequest(Wire):
    """How to resume a job: without a key where it was paused; with one, further than it ended.

    A job that has ended trains on from its newest checkpoint: for `more_epochs`, after the epoch
    of the checkpoint, or for `more_steps` after its step.
    """

    more_epochs: Integer | None = Field(default=None, ge=1, le=10**7)
    more_steps: Integer | None = Field(default=None, ge=1, le=10**9)

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if self.more_epochs is not None and self.more_steps is not None:
            raise ValueError("got both of more_epochs and more_steps: give one.")
        return self
