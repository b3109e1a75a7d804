"""A job's curves: its steps reduced to buckets, for charts."""

from typing import Any

from pydantic import Field

from batchgrad.contract.views import StepRow
from batchgrad.contract.wire import Answer

__all__ = ["Curve", "Curves"]


class Curve(Answer):
    """One figure in each bucket; two buckets that are merged add, and take minimum and maximum."""

    sum: list[float] = Field(description="over the steps that have the figure")
    count: list[int] = Field(description="of the steps that have the figure")
    low: list[float | None] = Field(description="the smallest value; null if count is 0")
    high: list[float | None] = Field(description="the largest value; null if count is 0")


class Curves(Answer):
    """The steps of a job in buckets: bucket b holds the steps b·width + 1 … (b + 1)·width.

    `figures` are by their path in a step's row: loss, shortcuts.averaged_error.relative_error,
    phases.compute; `step` is the number of the step itself, `time` its Unix time in seconds.
    Buckets without a row are left out.
    """

    width: int = Field(description="steps in a bucket, a power of two")
    after: int = Field(description="the first bucket begins after this step")
    figures: dict[str, Curve]
    first: StepRow | None = Field(description="the row of the job's first step, if after is 0")
    last: StepRow | None = Field(description="the row of the job's last step")
    evaluations: list[dict[str, Any]] = Field(
        description="data of the evaluations after `after`: the first, and each bucket's last"
    )
