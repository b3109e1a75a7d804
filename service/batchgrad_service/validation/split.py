"""Check that a job has the validation examples whose figures its spec looks at."""

from math import ceil

from batchgrad.contract import JobSpec
from batchgrad_service.problems import InvalidError
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.nn.losses import LOSSES


def check_split(spec: JobSpec, sampler: Sampler) -> list[str]:
    """A sentence or two for what is legal and perhaps not meant.

    Raises:
        InvalidError: there are no figures that the spec looks at.
    """
    stopping = spec.early_stopping
    if stopping and stopping.metric == "validation_accuracy" and not LOSSES[spec.loss].correct:
        raise InvalidError.field(
            "/early_stopping/metric", f"{spec.loss} has no accuracy: set metric: validation_loss."
        )
    if spec.validation_fraction == 0 or len(sampler.validation):
        return []
    examples = len(sampler.training)
    lacks = f"{spec.validation_fraction:g} of {examples} examples, rounded down, is none"
    if not stopping and spec.keep != "best":
        return [f"There will be no validation figures: {lacks}. {_remedy(examples)}"]
    asked = "early_stopping" if stopping else "keep: best"
    raise InvalidError.field(
        "/validation_fraction",
        f"{asked} looks at validation figures, but {lacks}. {_remedy(examples)}",
    )


def _remedy(examples: int) -> str:
    least = ceil(1e4 / examples) / 1e4
    return f"Set validation_fraction to {least:g} or more." if least < 1 else "Push more examples."
