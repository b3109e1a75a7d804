"""Initial parameters of private jobs: whether they tell of rows that the job protects."""

from collections.abc import Callable, Collection, Iterator

from pydantic import ValidationError

from batchgrad.downloads.card import TrainedOn
from batchgrad_engine.checkpoints.origin import read_metadata
from batchgrad_service.problems import InvalidError


def check_origins(
    content: bytes, protected: Collection[str], stored: Callable[[str], bytes | None]
) -> None:
    """Refuse parameters that a job without privacy has trained on a protected dataset.

    `content` is a safetensors file; its model card names the job's dataset and its own initial
    parameters, which `stored` reads by their digest. A file without a card tells nothing.

    Raises:
        InvalidError: they were, or those that they started from.
    """
    for training in _origins(content, stored):
        if training.dataset_digest in protected and training.spec.get("privacy") is None:
            raise InvalidError.field(
                "/initial_parameters",
                f"These parameters were trained on dataset {training.dataset_digest} without "
                "privacy, so they tell about the rows that this job protects: start from a seed, "
                "from a private job, or from parameters of other data.",
            )


def _origins(content: bytes, stored: Callable[[str], bytes | None]) -> Iterator[TrainedOn]:
    """The trainings that led to the parameters, the last first."""
    found: bytes | None = content
    while found is not None:
        try:
            training = TrainedOn.model_validate(read_metadata(found).get("training"))
        except ValidationError:  # no card, or one of an older version
            return
        yield training
        start = training.spec.get("initial_parameters")
        digest = start.get("digest") if isinstance(start, dict) else None
        found = stored(digest) if isinstance(digest, str) else None
