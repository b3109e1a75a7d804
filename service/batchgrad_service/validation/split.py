"""Check that a job has the validation examples that its spec needs."""

from math import ceil

from batchgrad.contract import JobSpec
from batchgrad_service.problems import InvalidError
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.nn.losses import LOSSES


def check_split(spec: JobSpec, sampler: Sampler) -> list[str]:
    """Warn if there are no validation examples although validation_fraction is above 0.

    Raises:
        InvalidError: the spec needs a validation figure that the job does not have.
    """
    stopping = spec.early_stopping
    if stopping and stopping.metric == "validation_accuracy" and not LOSSES[spec.loss].correct:
        raise InvalidError.field(
            "/early_stopping/metric", f"{spec.loss} has no accuracy: set metric: validation_loss."
        )
    if spec.validation_fraction == 0 or len(sampler.validation):
        return []
    examples = len(sampler.training)
    none = f"{spec.validation_fraction:g} of {examples} examples, rounded down, is 0"
    if not stopping and spec.keep != "best":
        return [f"There will be no validation figures: {none}. {_remedy(examples)}"]
    setting = "early_stopping" if stopping else "keep: best"
    raise InvalidError.field(
        "/validation_fraction",
        f"{setting} needs validation examples, but {none}. {_remedy(examples)}",
    )


def _remedy(examples: int) -> str:
    least = ceil(1e4 / examples) / 1e4
    return (
        f"Set validation_fraction to {least:g} or more."
        if least < 1
        else "Push a dataset with more examples."
    )
