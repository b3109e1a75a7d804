"""Transforms of a job's inputs: its checkpoint's, its initial parameters' or its training rows'."""

from pathlib import Path

from batchgrad.contract import JobSpec
from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_engine.checkpoints.origin import (
    CHECKED_NUMBERS,
    CannotKeep,
    Origin,
    kept_transform,
    read_origin,
    transform_warning,
)
from batchgrad_engine.failures import BadInitialParameters, BadInputs
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.input_transform import InputTransform, fit_transform
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.data.tables.encoding import TableEncoding


def transform_and_warning(
    spec: JobSpec,
    dataset: StoredDataset,
    sampler: Sampler,
    snapshot: Snapshot | None,
    initial: Path | None,
) -> tuple[InputTransform | None, str | None]:
    """The inputs' transform, and a warning if `initial` was trained on other inputs."""
    transform = snapshot.transform if snapshot else None
    if isinstance(transform, TableEncoding) and dataset.table is not None:
        transform = transform.compiled(dataset.table)
    if transform is not None or not (spec.standardize or dataset.table is not None):
        return transform, None
    start = read_origin(initial.read_bytes()) if initial else Origin()
    transform = _transform(spec, dataset, sampler, start)
    if dataset.inputs.size <= CHECKED_NUMBERS:
        return transform, None  # the plan has warned
    return transform, transform_warning(
        start, transform, standardize=spec.standardize, is_table=dataset.table is not None
    )


def _transform(
    spec: JobSpec, dataset: StoredDataset, sampler: Sampler, start: Origin
) -> InputTransform | None:
    """The initial parameters' transform if the spec keeps it, else the training rows'."""
    if spec.initial_parameters and spec.initial_parameters.standardization == "keep":
        try:
            return kept_transform(start, dataset)
        except CannotKeep as error:
            raise BadInitialParameters(str(error)) from error
    own = fit_transform(
        dataset.inputs, dataset.table, sampler.training, standardize=spec.standardize
    )
    if own is not None and not own.is_finite:
        raise BadInputs(
            "The inputs' deviations are not finite, so they can't be standardized: scale the "
            "inputs down, or set standardize: false."
        )
    return own
