"""Compare how inputs were standardized for a job's initial parameters with how the job does it."""

from pathlib import Path

from batchgrad.contract import JobSpec
from batchgrad_engine.checkpoints.origin import (
    CHECKED_NUMBERS,
    read_origin,
    standardization_warning,
)
from batchgrad_engine.training.sampling import job_sampler
from batchgrad_service.problems import InvalidError
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.standardization import Standardization


def warnings_of_start(spec: JobSpec, directory: Path, content: bytes) -> list[str]:
    """Warn if the parameters were trained on inputs that were standardized differently.

    `directory` has the job's dataset, `content` is the safetensors file of the parameters.

    Raises:
        InvalidError: `standardization: keep`, but the file has none for inputs of this shape.
    """
    stored, of = StoredDataset.open(directory), read_origin(content)
    known, shape = of.standardization, stored.inputs.shape[1:]
    if spec.initial_parameters and spec.initial_parameters.standardization == "keep":
        if known is None or known.mean.shape != shape:
            kept = f"one for inputs of shape {list(known.mean.shape)}" if known else "none"
            raise InvalidError.field(
                "/initial_parameters/standardization",
                f"standardization is keep, but the parameters have {kept}; the inputs have shape "
                f"{list(shape)}: remove standardization, or use the parameters of a job with "
                "standardize: true, downloaded without fold.",
            )
        return []
    own = None
    if spec.standardize and known is not None and stored.inputs.size <= CHECKED_NUMBERS:
        own = Standardization.of(stored.inputs, job_sampler(spec, stored).training)
    found = standardization_warning(of, own, standardize=spec.standardize)
    return [] if found is None else [found]
