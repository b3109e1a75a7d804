"""Plans of PyTorch jobs: checks of their datasets, and what a preflight adds."""

from collections.abc import Iterator

import numpy as np

from batchgrad.contract import VALIDATION_FIGURES, Dataset, JobSpec, Plan
from batchgrad_engine.preflight.messages import Examined
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.job_data import JobData, StoredData
from batchgrad_service.validation.memory import machine_bytes
from batchgrad_service.validation.shapes import check_parameter_groups
from batchgrad_service.validation.split import check_split, checked_sampler
from batchgrad_service.validation.warnings.spec import spec_warnings
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.runtime.shard import microbatches

VALUE_METRICS = ("validation_r2", "validation_rmse")
"""Figures of outputs that are compared with numbers."""


def plan_of_data(spec: JobSpec, data: JobData) -> Plan:
    """What follows from a PyTorch job's datasets alone; `with_module` adds the rest.

    Raises:
        InvalidError: spec and datasets do not fit together.
    """
    dataset, stored = data.dataset, StoredDataset.open(data.directory)
    sampler = checked_sampler(spec, dataset, stored)
    warnings = [*_table(dataset), *check_split(spec, dataset, sampler)]
    validation_examples = len(sampler.validation)
    if data.validation is not None:
        validation_examples = _validation_examples(dataset, data.validation)
    steps_planned = spec.steps or (spec.epochs or 0) * sampler.steps_per_epoch
    per_step = microbatches(sampler.batch_size, spec.microbatch)
    warnings += spec_warnings(
        spec,
        training_examples=len(sampler.training),
        steps_planned=steps_planned,
        steps_per_epoch=sampler.steps_per_epoch,
        microbatches_per_step=per_step,
    )
    return Plan(
        dataset_digest=dataset.digest,
        training_examples=len(sampler.training),
        validation_examples=validation_examples,
        parameters=0,
        layers=[],
        steps_planned=steps_planned,
        steps_per_epoch=sampler.steps_per_epoch,
        microbatches_per_step=per_step,
        microbatch_size=spec.microbatch,
        shortcuts=[],
        gradient_bytes=0,
        memory_bytes=0,
        warnings=warnings,
        classes=stored.class_names,
    )


def with_module(planned: Plan, spec: JobSpec, found: Examined) -> Plan:
    """The plan with what a preflight found out about the module.

    Raises:
        InvalidError: the machine has too little memory, or the spec asks for parameters, figures or
            a shortcut that the module does not have.
    """
    trained = [each.name for each in found.plan.parameters if each.trainable]
    check_parameter_groups(spec.optimizer, trained)
    stopping = spec.early_stopping
    if stopping and stopping.metric == "validation_accuracy" and not found.has_accuracy:
        raise InvalidError.field(
            "/early_stopping/metric",
            f"The task of {spec.model.torch} has no function `correct`, so there is no accuracy: "
            "give it one, or set metric to validation_loss.",
        )
    noisy = spec.privacy is not None and spec.privacy.validation == "noisy"
    if noisy and spec.held_out is not None and not found.has_accuracy:
        raise InvalidError.field(
            "/privacy/validation",
            f"noisy validation shows an accuracy, which the task of {spec.model.torch} does not "
            "have: give it a function `correct`, or hold out public rows, validation: public.",
        )
    if stopping and stopping.metric in VALUE_METRICS and not found.has_values:
        raise InvalidError.field(
            "/early_stopping/metric",
            f"The task of {spec.model.torch} compares its outputs with no numbers (`targets`), so "
            f"there is no {VALIDATION_FIGURES[stopping.metric].label}: set metric to "
            "validation_loss.",
        )
    if spec.update in found.plan.unavailable:
        raise InvalidError.field(
            "/update",
            f"This module has no {spec.update} to train on: {found.plan.unavailable[spec.update]}",
        )
    if found.memory_bytes > machine_bytes():
        raise InvalidError.field(
            "/model/torch",
            f"{spec.model.torch} needs about {found.memory_bytes / 2**30:.1f} GiB of memory, with "
            f"{found.parameters} parameters; this machine has {machine_bytes() / 2**30:.1f} GiB: "
            "use a smaller model or microbatch_size.",
        )
    return planned.model_copy(
        update={
            "parameters": found.parameters,
            "training_examples": found.training_examples,
            "validation_examples": found.validation_examples,
            "steps_per_epoch": found.steps_per_epoch,
            "microbatches_per_step": microbatches(found.minibatch_size, spec.microbatch),
            "steps_planned": spec.steps or (spec.epochs or 0) * found.steps_per_epoch,
            "layers": found.layers,
            "shortcuts": found.shortcuts,
            "gradient_bytes": found.parameters * np.dtype(spec.precision).itemsize,
            "memory_bytes": found.memory_bytes,
            "warnings": [*found.warnings, *planned.warnings],
            "torch": found.plan,
        }
    )


def _table(dataset: Dataset) -> Iterator[str]:
    if dataset.table is not None and dataset.table.columns:
        yield (
            f"Dataset {dataset.name} is a table: a PyTorch task gets its columns as they are "
            "stored, numbers, codes of categories and days, with NaN or -1 where a value is "
            "missing. It has to encode them itself."
        )


def _validation_examples(dataset: Dataset, other: StoredData) -> int:
    """The number of validation examples with a weight above 0.

    Raises:
        InvalidError: its arrays are not those of `dataset`.
    """
    names = {each.name: each for each in other.dataset.arrays}
    for array in dataset.arrays:
        found = names.get(array.name)
        if found is None or len(found.shape) != len(array.shape):
            has = f"has {array.name} of shape {found.shape}" if found else f"lacks {array.name}"
            raise InvalidError.field(
                "/validation/dataset",
                f"Dataset {other.dataset.name} {has}; in dataset {dataset.name} it has shape "
                f"{array.shape}: push both with the same arrays.",
            )
    weights = StoredDataset.open(other.directory).weights
    return other.dataset.examples if weights is None else int((weights > 0).sum())
