"""The longer spec of a job that has ended and shall train on."""

from dataclasses import dataclass

from pydantic import ValidationError

from batchgrad.contract import Constant, JobSpec, ResumeRequest, StepDecay
from batchgrad_service.problems import InvalidError


@dataclass(frozen=True)
class Longer:
    """The spec of a job that trains on from step `from_step` to step `steps_planned`."""

    spec: JobSpec
    steps_planned: int
    from_step: int
    warnings: list[str]


def longer(before: JobSpec, from_step: int, steps_per_epoch: int, request: ResumeRequest) -> Longer:
    """The spec with its new length: more epochs after that of `from_step`, or more steps after it.

    Raises:
        InvalidError: the job would be longer than any job may be.
    """
    if request.more_epochs is not None:
        name, more = "more_epochs", request.more_epochs
        epochs = -(-from_step // steps_per_epoch) + more
        length, steps = {"epochs": epochs, "steps": None}, epochs * steps_per_epoch
    else:
        name, more = "more_steps", request.more_steps or 0
        steps = from_step + more
        length = {"epochs": None, "steps": steps}
    try:
        spec = JobSpec.model_validate({**before.model_dump(mode="json"), **length})
    except ValidationError:
        raise InvalidError.field(
            f"/{name}", f"got {more}: the whole job would have {steps} steps, which is too long."
        ) from None
    return Longer(spec, steps, from_step, _warnings(spec))


def _warnings(spec: JobSpec) -> list[str]:
    """What a longer job does otherwise than the user may expect."""
    schedule = spec.optimizer.schedule
    if isinstance(schedule, Constant | StepDecay):
        return []
    warning = (
        f"The {schedule.kind} schedule now covers the new length: the learning rate goes on as if "
        "the job had been that long from the start, so it jumps at the step where the job ended."
    )
    return [warning]
