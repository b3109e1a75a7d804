"""Train one job by the mean gradient and by each shortcut, and collect their figures."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, get_args

from batchgrad.client import Client
from batchgrad.contract import Job, JobSpec, Plan, StepRow
from batchgrad.contract.model import ShortcutName
from batchgrad.display import averages
from batchgrad.display.numbers import validation
from batchgrad.http.following import succeeded
from batchgrad.timeouts import Deadline

VariantName = Literal["mean_gradient", "averaged_error", "mean_example", "mean_of_means"]
VARIANT_NAMES: tuple[VariantName, ...] = get_args(VariantName)
CURVE_POINTS = 500


@dataclass(frozen=True)
class Variant:
    """The result of one way to train.

    The validation figures and `training_loss` are those of the parameters that the job keeps.
    `last_epoch_loss` is the mean over the last epoch's examples, each at the step that held it,
    `training_loss` that over all training examples; None where the variant diverged. `curve` holds
    (step, loss, weight) in order.
    """

    name: VariantName
    job: Job
    last_epoch_loss: float | None = None
    training_loss: float | None = None
    curve: list[tuple[int, float, float]] = field(default_factory=list)

    @property
    def diverged(self) -> bool:
        """Whether its loss or gradient overflowed."""
        return _diverged(self.job)

    @property
    def validation_loss(self) -> float | None:
        """None if the variant diverged or has no validation examples."""
        return None if self.diverged else validation(self.job)[0]

    @property
    def validation_accuracy(self) -> float | None:
        """None if the variant diverged, or has no accuracy."""
        return None if self.diverged else validation(self.job)[1]


def variant_names(plan: Plan, selected: Sequence[ShortcutName]) -> list[VariantName]:
    """The mean gradient first, then the selected shortcuts, or those that the plan measures."""
    shortcuts = selected or plan.shortcuts
    return [name for name in VARIANT_NAMES if name == "mean_gradient" or name in shortcuts]


def compare(
    client: Client,
    spec: JobSpec,
    selected: Sequence[ShortcutName] = (),
    *,
    show: Callable[[Job], None] = lambda _: None,
    run: str | None = None,
    timeout: float | None = None,
) -> Iterator[Variant]:
    """Train one variant after the other, with the same initial parameters and order of examples.

    One at a time, so that variants do not compete for workers. Jobs have the labels `compare`,
    which is `run`, and `variant`. Closing the iterator does not end a running job.

    Raises:
        JobFailed, JobCancelled: a variant neither succeeded nor diverged.
        NotFinished: a job had not ended `timeout` seconds after the start of the comparison.
    """
    deadline = Deadline(timeout)
    plan = client.plan({**_sent(spec), "shortcuts": None, "update": "mean_gradient"})
    run = run or uuid.uuid4().hex[:12]
    for name in variant_names(plan, selected):
        job = client.submit(_variant_spec(spec, name, run))
        for current in client.watch(job.id, timeout=deadline.left()):
            job = current
            show(job)
        if not _diverged(job):
            succeeded(job)
        yield _measured(client, Variant(name, job), spec, plan, run)


def summary(variants: Sequence[Variant]) -> dict[str, Any]:
    """What `--output json` prints."""
    return {
        "variants": {
            variant.name: {
                "last_epoch_loss": variant.last_epoch_loss,
                "training_loss": variant.training_loss,
                "validation_loss": variant.validation_loss,
                "validation_accuracy": variant.validation_accuracy,
                "status": variant.job.status,
                "reason": variant.job.reason,
                "steps": variant.job.step,
                "kept_step": variant.job.parameters_step,
                "id": variant.job.id,
            }
            for variant in variants
        }
    }


def _diverged(job: Job) -> bool:
    """Whether a loss or gradient overflowed, which is a result; other failures are errors."""
    return job.status == "failed" and job.reason == "nonfinite"


def _sent(spec: JobSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude_unset=True)


def _variant_spec(spec: JobSpec, name: VariantName, run: str) -> dict[str, Any]:
    labels = {**spec.labels, "compare": run, "variant": name}
    longest = 128 - len(name) - 1
    changes = {"update": name, "labels": labels, "name": f"{spec.name[:longest]}.{name}"}
    return {**_sent(spec), **changes}


def _measured(client: Client, variant: Variant, spec: JobSpec, plan: Plan, run: str) -> Variant:
    rows = list(client.steps(variant.job.id, max_points=CURVE_POINTS))
    curve = [
        (row.step, row.loss, averages.weight(row))
        for row in rows
        if row.loss is not None and isfinite(row.loss)
    ]
    if variant.diverged or not rows:
        return Variant(variant.name, variant.job, curve=curve)
    before = max(variant.job.step - plan.steps_per_epoch, 0)
    last = _last_epoch(client.steps(variant.job.id, after=before))
    overall = _training_loss(client, variant, spec, plan, run)
    return Variant(variant.name, variant.job, last, overall, curve)


def _last_epoch(rows: Iterator[StepRow]) -> float | None:
    """The mean loss over the examples of the last row's epoch."""
    found = list(rows)
    return averages.mean_loss(
        (row.loss, averages.weight(row))
        for row in found
        if row.epoch == found[-1].epoch and row.loss is not None
    )


def _as_trained(spec: JobSpec) -> dict[str, str]:
    """Standardize the probe's inputs as the variant's, whatever the variant started from."""
    return {"standardization": "keep"} if spec.standardize else {}


def _training_loss(
    client: Client, variant: Variant, spec: JobSpec, plan: Plan, run: str
) -> float | None:
    """The trained model's loss over all training examples.

    The first step of a job with these initial parameters and all examples in one minibatch
    reports it: a step's loss is the loss before its update.
    """
    probe = _variant_spec(spec, variant.name, run) | {
        "name": f"{spec.name[:100]}.training_loss",
        "update": "mean_gradient",
        "initial_parameters": {"job": variant.job.id, **_as_trained(spec)},
        "optimizer": {"kind": "sgd", "learning_rate": 1e-30},
        "batch_size": "full",
        "microbatch_size": plan.microbatch_size,
        "epochs": None,
        "steps": 1,
        "shortcuts": [],
        "early_stopping": None,
        "keep": "last",
        "workers": 0,
    }
    *_, job = client.watch(client.submit(probe).id)
    if not _diverged(job):
        succeeded(job)
    step = client.last_step(job.id)
    client.delete(job.id)
    return None if step is None else step.loss
