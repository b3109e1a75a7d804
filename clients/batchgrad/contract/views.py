"""Answers of the service about jobs, steps, events and itself."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field, PrivateAttr

from batchgrad.contract.figures import StepFigures, ValidationFigures, ValidationMetric
from batchgrad.contract.plans import PlannedPrivacy
from batchgrad.contract.statuses import JobStatus, describe_transitions
from batchgrad.contract.training.spec import JobSpec
from batchgrad.contract.wire import Answer, Origin

__all__ = [
    "EXAMPLE_NORM_BOUNDS",
    "BestEvaluation",
    "Checkpoint",
    "Event",
    "EventType",
    "FieldError",
    "Job",
    "JobPrivacy",
    "LargestNorm",
    "LayeredShortcut",
    "NormTest",
    "Norms",
    "Page",
    "ProblemDetails",
    "Shortcut",
    "ShortcutLayer",
    "StepRow",
    "Version",
]

EventType = Literal[
    "state",
    "plan",
    "executor",
    "progress",
    "evaluation",
    "checkpoint",
    "worker_joined",
    "worker_lost",
    "retry",
    "warning",
    "end",
]

EXAMPLE_NORM_BOUNDS: tuple[float, ...] = tuple(
    base * 10.0**power for power in range(-4, 4) for base in (1.0, 2.0, 5.0)
)
"""Upper bounds of the histogram buckets of per-example gradient norms."""


class Shortcut(Answer):
    """The error of a shortcut's gradient against the mean gradient G; null if undefined."""

    relative_error: float | None
    cosine_similarity: float | None
    norm_ratio: float | None


class ShortcutLayer(Answer):
    """One layer's part of the gap: covariance arises here, propagation in the layers above."""

    name: str
    relative_error: float | None
    covariance_norm: float | None
    propagation_norm: float | None


class LayeredShortcut(Shortcut):
    """A shortcut with its layers, which mean_of_means does not have."""

    layers: list[ShortcutLayer] | None = None


class LargestNorm(Answer):
    """An example whose gradient was among the largest of a step."""

    example: int
    norm: float


class Norms(Answer):
    """Per-example gradient norms of one step.

    `histogram` has a count for each bucket of EXAMPLE_NORM_BOUNDS, and one above the last bound.
    """

    quantiles: dict[str, float]
    histogram: list[int] = Field(default=[])
    largest: list[LargestNorm]


class NormTest(Answer):
    """The norm test of Byrd et al. 2012: is the minibatch large enough?

    `ratio` is √(trace S / N) / ‖G‖: the test holds for θ ≥ ratio. `batch_size` is the N that
    makes it hold for θ = ½.
    """

    ratio: float | None
    batch_size: float | None


class StepPosition(Answer):
    """The number, epoch and time of a step."""

    step: int
    epoch: int
    time: datetime


class StepRow(StepFigures[float], StepPosition):
    """One step; its figures are of the parameters before the update.

    `weight` is Σ w_n, or the number of examples if they have no weights: the weight of the step's
    loss in a mean over steps. `gradient_checksum` is of the bits of the mean gradient; a replay is
    checked against it. A private job has no loss, unless it reports a noisy one, no norms and no
    phases; its gradient is the noisy one, and `epsilon` what is spent after the step.
    """

    weight: float | None = None
    norm_test: NormTest | None = None
    gradient_checksum: str | None = None
    norms: Norms | None
    shortcuts: dict[str, LayeredShortcut]
    phases: dict[str, float]
    workers: int
    epsilon: float | None = None


class BestEvaluation(ValidationFigures):
    """The evaluation with the best `metric` so far; of equal ones the first.

    `parameters_digest` is of the parameters that were evaluated, those after `step` steps.
    """

    step: int
    epoch: int
    metric: ValidationMetric
    parameters_digest: str


class JobProgress(Answer):
    """The id, status and progress of a job."""

    id: str
    name: str
    labels: dict[str, str]
    status: JobStatus = Field(description=f"What may follow each status:\n{describe_transitions()}")
    reason: str | None
    detail: str | None = None
    queued_because: str | None
    step: int
    steps_planned: int
    epoch: int


class JobPrivacy(PlannedPrivacy):
    """The privacy of a job; `epsilon_spent` is ε of the steps that it has taken."""

    epsilon_spent: float | None


class Job(ValidationFigures, StepFigures[float | None], JobProgress):
    """The current state of a job; `reason` is the kind of a failure, `detail` a sentence about it.

    Its figures are those of its newest step, null before the first.
    Figures that begin with `validation` are of the last evaluation. `parameters_digest` is of the
    parameters that a download gives, those after step `parameters_step`: the `best` ones if the
    job keeps them (spec.keep), else the last ones. `last_parameters_digest` is of the last ones.
    All three are of the newest checkpoint.
    """

    shortcuts: dict[str, Shortcut]
    workers: int | None
    threads: int | None
    executor: Literal["inline", "ray"] | None
    examples_per_second: float | None
    parameters_digest: str | None
    parameters_step: int | None = None
    last_parameters_digest: str | None = None
    best: BestEvaluation | None = None
    attempts: int
    privacy: JobPrivacy | None = None
    warnings: list[str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    spec: JobSpec

    _origin: Origin = PrivateAttr(default=Origin())

    def model_post_init(self, context: Any) -> None:
        """Keep the client that gave this job, for `plot`."""
        self._origin = context if isinstance(context, Origin) else Origin()

    def plot(self, *, max_points: int | None = 1000) -> Any:
        """`plot` of the client that gave this job: a figure of matplotlib.

        Of an AsyncClient, a coroutine. Raises RuntimeError if no client gave it.
        """
        if self._origin.client is None:
            raise RuntimeError(f"No client gave job {self.id}: use client.plot(job).")
        return self._origin.client.plot(self, max_points=max_points)


class Event(Answer):
    """An event of a job; `seq` counts from 1.

    After the first thousand events, only half of the `progress` and `evaluation` events are kept
    that are older than an hour, a quarter after two hours, and so on.
    """

    seq: int
    time: datetime
    type: EventType
    data: dict[str, Any]


class Checkpoint(Answer):
    """The state after `step` steps, from which a job can go on.

    It also contains the parameters of the best evaluation so far, if the job keeps them.
    """

    step: int
    time: datetime
    bytes: int
    digest: str
    parameters_digest: str
    best: BestEvaluation | None = None


class Version(Answer):
    """The service's own version and what decides the bits of a run."""

    version: str
    api: str
    python: str
    numpy: str
    cpu_architecture: str


class FieldError(Answer):
    """An invalid field: a JSON pointer (RFC 6901) into the request body, and what to do."""

    pointer: str
    detail: str


class ProblemDetails(Answer):
    """An error, as application/problem+json (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] = Field(default=[])
    request_id: str | None = None


Item = TypeVar("Item")


class Page(Answer, Generic[Item]):
    """One page of a list; `next` is the cursor for `after`, or null."""

    data: list[Item]
    next: str | None = None
