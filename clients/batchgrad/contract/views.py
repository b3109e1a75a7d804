"""Answers of the service about jobs, steps, events, datasets and itself."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field

from batchgrad.contract.answer import Answer
from batchgrad.contract.figures import StepFigures
from batchgrad.contract.spec import JobSpec, ValidationMetric
from batchgrad.contract.statuses import JobStatus, describe_transitions

__all__ = [
    "EXAMPLE_NORM_BOUNDS",
    "BestEvaluation",
    "Checkpoint",
    "Dataset",
    "Event",
    "EventType",
    "FieldError",
    "Job",
    "LargestNorm",
    "LayeredShortcut",
    "NormTest",
    "Norms",
    "Page",
    "Plan",
    "PlannedLayer",
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
"""Upper bounds of the buckets that per-example gradient norms are counted in."""


class Shortcut(Answer):
    """How far one shortcut's gradient is from the mean gradient G; null where undefined."""

    relative_error: float | None
    cosine_similarity: float | None
    norm_ratio: float | None


class ShortcutLayer(Answer):
    """One layer's share of the gap: covariance opened here, propagation was lost above."""

    name: str
    relative_error: float | None
    covariance_norm: float | None
    propagation_norm: float | None


class LayeredShortcut(Shortcut):
    """A shortcut with its layers; mean_of_means has none."""

    layers: list[ShortcutLayer] | None = None


class LargestNorm(Answer):
    """An example whose gradient was among the largest of a step."""

    example: int
    norm: float


class Norms(Answer):
    """Per-example gradient norms of one step.

    `histogram` counts them: at most EXAMPLE_NORM_BOUNDS[0], up to each further bound, above all.
    """

    quantiles: dict[str, float]
    histogram: list[int] = Field(default=[])
    largest: list[LargestNorm]


class NormTest(Answer):
    """Is the minibatch large enough? Byrd et al. 2012, by per-example norms.

    `ratio` is √(trace S / N) / ‖G‖: the test holds for θ ≥ ratio. `batch_size` is the N that
    makes it hold for θ = ½.
    """

    ratio: float | None
    batch_size: float | None


class StepPosition(Answer):
    """Which step it is, and when it was done."""

    step: int
    epoch: int
    time: datetime


class StepRow(StepFigures[float], StepPosition):
    """One step: its figures are those at the parameters before the update.

    `weight` is Σ w_n, the number of examples where none has a weight: what the step's loss counts
    for in a mean over steps. `gradient_checksum` fingerprints the bits of the mean gradient, so
    that a replay can be checked.
    """

    weight: float | None = None
    norm_test: NormTest | None = None
    gradient_checksum: str | None = None
    norms: Norms
    shortcuts: dict[str, LayeredShortcut]
    phases: dict[str, float]
    workers: int


class BestEvaluation(Answer):
    """The evaluation with the best `metric` so far, the first of equals.

    `parameters_digest` is of the parameters that were evaluated, those after `step` steps.
    """

    step: int
    epoch: int
    metric: ValidationMetric
    validation_loss: float
    validation_accuracy: float | None
    parameters_digest: str


class JobProgress(Answer):
    """Which job it is, and how far it is."""

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


class Job(StepFigures[float | None], JobProgress):
    """A job as it stands; `reason` is the kind of a failure, `detail` says it in words.

    Its figures are those of its newest step, null before the first.
    `validation_loss`, weighted as in training, and `validation_accuracy`, which counts every
    example alike, are the last evaluation's. `parameters_digest` is of the parameters that a
    download gives, those after step `parameters_step`: the `best` ones where the job keeps them
    (spec.keep), else the last ones. `last_parameters_digest` is of the last ones in the newest
    checkpoint in any case. All three are as of that checkpoint.
    """

    validation_loss: float | None
    validation_accuracy: float | None
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
    warnings: list[str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    spec: JobSpec


class Event(Answer):
    """Something that happened to a job; `seq` starts at 1 and has no gaps.

    But beyond the first thousand events: of `progress` and `evaluation` that are older than an
    hour half are kept, after two hours a quarter, and so on.
    """

    seq: int
    time: datetime
    type: EventType
    data: dict[str, Any]


class Checkpoint(Answer):
    """A state a job can go on from, after `step` steps.

    It also holds the parameters of the best evaluation until then, where the job keeps them.
    """

    step: int
    time: datetime
    bytes: int
    digest: str
    parameters_digest: str
    best: BestEvaluation | None = None


class PlannedLayer(Answer):
    """A layer with the shapes the dataset gives it."""

    name: str
    kind: str
    output_shape: list[int]
    parameters: int


class Plan(Answer):
    """What a job would do, worked out from its spec and dataset without running it."""

    dataset_digest: str
    training_examples: int
    validation_examples: int
    parameters: int
    layers: list[PlannedLayer]
    steps_planned: int
    steps_per_epoch: int
    microbatches_per_step: int
    microbatch_size: int
    shortcuts: list[str]
    gradient_bytes: int
    memory_bytes: int = Field(description="held by a process that computes with one thread")
    warnings: list[str]


class Dataset(Answer):
    """A named dataset; its content is addressed by `digest`."""

    name: str
    digest: str
    examples: int
    input_shape: list[int]
    input_dtype: str
    target_kind: Literal["classes", "values"]
    classes: int | None
    weighted: bool
    bytes: int
    created_at: datetime


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
