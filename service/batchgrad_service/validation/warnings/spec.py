"""Warn of values of a spec that are legal, but probably wrong."""

from collections.abc import Iterator

from batchgrad.contract import LOSSES, Cosine, JobSpec, StepDecay


def spec_warnings(
    spec: JobSpec,
    *,
    training_examples: int,
    steps_planned: int,
    steps_per_epoch: int,
    microbatches_per_step: int,
) -> list[str]:
    """The warnings."""
    return [
        *_loss(spec),
        *_batch(spec, training_examples),
        *_workers(spec, microbatches_per_step),
        *_update(spec),
        *_schedule(spec, steps_planned),
        *_early_stopping(spec, steps_planned, steps_per_epoch),
    ]


def _loss(spec: JobSpec) -> Iterator[str]:
    if spec.loss is not None and not LOSSES[spec.loss].has_minimum:
        yield (
            f"{spec.loss} has no minimum: the loss decreases without end as outputs grow, so it "
            "cannot train a model. Its use is to show that with linear layers alone the averaged "
            "error is exact."
        )


def _batch(spec: JobSpec, training_examples: int) -> Iterator[str]:
    if spec.batch_size != "full" and spec.batch_size > training_examples:
        yield (
            f"batch_size is {spec.batch_size}, but there are only {training_examples} training "
            "examples: every step uses all of them."
        )


def _workers(spec: JobSpec, microbatches_per_step: int) -> Iterator[str]:
    if isinstance(spec.workers, int) and spec.workers > microbatches_per_step:
        cut = (
            "one microbatch"
            if microbatches_per_step == 1
            else f"{microbatches_per_step} microbatches"
        )
        yield (
            f"workers is {spec.workers}, but a step has {cut} of {spec.microbatch} examples: "
            f"{spec.workers - microbatches_per_step} will idle. Use fewer workers, or a smaller "
            "microbatch_size."
        )


def _update(spec: JobSpec) -> Iterator[str]:
    if spec.update != "mean_gradient":
        yield (
            f"update is {spec.update}: the parameters follow this shortcut, not the mean gradient. "
            "`batchgrad compare` trains both and compares them."
        )


def _schedule(spec: JobSpec, steps_planned: int) -> Iterator[str]:
    schedule = spec.optimizer.schedule
    if schedule.warmup_steps >= steps_planned:
        yield (
            f"warmup_steps is {schedule.warmup_steps}, but only {steps_planned} steps are planned: "
            "the learning rate rises until the end, and the schedule never begins."
        )
    elif isinstance(schedule, StepDecay):
        steps = steps_planned - schedule.warmup_steps
        if schedule.every >= steps:
            yield (
                f"The schedule lowers the learning rate every {schedule.every} steps, but only "
                f"{steps} steps follow the warm-up: the learning rate never falls."
            )


def _early_stopping(spec: JobSpec, steps_planned: int, steps_per_epoch: int) -> Iterator[str]:
    if spec.early_stopping is None:
        return
    patience, epochs = spec.early_stopping.patience, -(-steps_planned // steps_per_epoch)
    if patience >= epochs:
        yield (
            f"early_stopping.patience is {patience}, but the job has only {epochs} epochs: it will "
            "never stop early."
        )
    if isinstance(spec.optimizer.schedule, Cosine):
        yield (
            "The cosine schedule covers all planned steps: if the job stops early, the learning "
            "rate has not reached its final value."
        )
