"""Compare how inputs were made for a job's initial parameters with how the job does it."""

from pathlib import Path

from batchgrad.contract import JobSpec
from batchgrad_engine.checkpoints.origin import (
    CHECKED_NUMBERS,
    CannotKeep,
    kept_transform,
    read_origin,
    transform_warning,
)
from batchgrad_engine.training.sampling import job_sampler
from batchgrad_service.problems import InvalidError
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.input_transform import fit_transform


def warnings_of_start(spec: JobSpec, directory: Path, content: bytes) -> list[str]:
    """Warn if the parameters were trained on inputs that were made differently.

    `directory` has the job's dataset, `content` is the safetensors file of the parameters.

    Raises:
        InvalidError: `standardization: keep`, but that of the file does not fit the inputs.
    """
    stored, of = StoredDataset.open(directory), read_origin(content)
    if spec.initial_parameters and spec.initial_parameters.standardization == "keep":
        try:
            kept_transform(of, stored)
        except CannotKeep as error:
            raise InvalidError.field("/initial_parameters/standardization", str(error)) from error
        return []
    own = None
    if of.transform is not None and stored.inputs.size <= CHECKED_NUMBERS:
        training = job_sampler(spec, stored).training
        own = fit_transform(stored.inputs, stored.table, training, standardize=spec.standardize)
    found = transform_warning(
        of, own, standardize=spec.standardize, is_table=stored.table is not None
    )
    return [] if found is None else [found]
