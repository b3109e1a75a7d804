"""Compute a job's plan from its spec and dataset, without training."""

from collections.abc import Iterator

import numpy as np

from batchgrad.contract import LOSSES, Dataset, JobSpec, Plan, PlannedLayer
from batchgrad_engine.measurement.shortcuts import needed_shortcuts, wanted_shortcuts
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.dataset import check_class_weights, check_inputs, check_targets
from batchgrad_service.validation.job_data import JobData, layers_shape
from batchgrad_service.validation.memory import check_job_memory, machine_bytes
from batchgrad_service.validation.shapes import build_network, check_parameter_groups
from batchgrad_service.validation.split import check_split, checked_sampler
from batchgrad_service.validation.torch.plan import plan_of_data
from batchgrad_service.validation.validation_dataset import (
    check_validation_dataset,
    validation_warnings,
)
from batchgrad_service.validation.warnings.data import data_warnings
from batchgrad_service.validation.warnings.outputs import output_warnings
from batchgrad_service.validation.warnings.spec import spec_warnings
from batchgrad_workers.arrays import Integers
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.nn.network import Network
from batchgrad_workers.runtime.config import wants_means
from batchgrad_workers.runtime.shard import microbatches


def plan(spec: JobSpec, data: JobData) -> Plan:
    """The plan of `spec` on `data`; of a PyTorch task, what follows from `data` alone.

    Raises:
        InvalidError: spec and dataset do not fit together.
    """
    if spec.model.torch is not None:
        return plan_of_data(spec, data)
    dataset = data.dataset
    network = build_network(spec.model, layers_shape(dataset))
    if not network.learning:
        raise InvalidError.field(
            "/model/layers",
            "No layer has parameters, so nothing can be trained: add a linear layer.",
        )
    check_parameter_groups(spec.optimizer, [each.name for each in network.slices])
    averaged = wants_means(needed_shortcuts(spec, weighted=dataset.weighted))
    memory_bytes = check_job_memory(spec, network, averaged=averaged)
    stored = StoredDataset.open(data.directory)
    check_inputs(spec, stored, network)
    check_targets(spec, dataset, stored.targets, network.outputs)
    check_class_weights(spec, dataset)
    sampler = checked_sampler(spec, dataset, stored)
    split_warnings = check_split(spec, dataset, sampler)
    validation_examples, other_warnings = len(sampler.validation), list[str]()
    if data.validation is not None:
        validation_examples = check_validation_dataset(spec, dataset, data.validation, network)
        other_warnings = validation_warnings(dataset, data.validation.dataset)
    of_rows = [  # of a private job, they would tell of its rows
        *data_warnings(spec, dataset, stored, sampler.split.present, network),
        *split_warnings,
        *other_warnings,
    ]
    steps_planned = spec.steps or (spec.epochs or 0) * sampler.steps_per_epoch
    return Plan(
        dataset_digest=dataset.digest,
        training_examples=len(sampler.training),
        validation_examples=validation_examples,
        parameters=network.size,
        layers=_layers(network),
        steps_planned=steps_planned,
        steps_per_epoch=sampler.steps_per_epoch,
        microbatches_per_step=microbatches(sampler.batch_size, spec.microbatch),
        microbatch_size=spec.microbatch,
        shortcuts=list(wanted_shortcuts(spec, weighted=dataset.weighted)),
        gradient_bytes=network.size * np.dtype(spec.precision).itemsize,
        memory_bytes=memory_bytes,
        classes=stored.class_names,
        warnings=[
            *_output_warnings(spec, network, dataset, stored, sampler.split.present),
            *([] if spec.privacy is not None else of_rows),
            *_memory_warnings(memory_bytes),
            *spec_warnings(
                spec,
                training_examples=len(sampler.training),
                steps_planned=steps_planned,
                steps_per_epoch=sampler.steps_per_epoch,
                microbatches_per_step=microbatches(sampler.batch_size, spec.microbatch),
            ),
        ],
    )


def _output_warnings(
    spec: JobSpec,
    network: Network,
    dataset: Dataset,
    stored: StoredDataset,
    present: Integers | None,
) -> list[str]:
    if spec.privacy is not None and LOSSES[spec.network_loss].link is None:
        return []  # it would tell the range of the targets
    names = stored.class_names
    return output_warnings(spec, network, stored.targets, present, dataset.classes, names)


def _memory_warnings(memory_bytes: int) -> Iterator[str]:
    if memory_bytes > machine_bytes() / 2:
        yield (
            f"A step needs about {memory_bytes / 2**30:.1f} GiB of memory in each process that "
            f"computes, with one thread; this machine has {machine_bytes() / 2**30:.1f} GiB."
        )


def _layers(network: Network) -> list[PlannedLayer]:
    return [
        PlannedLayer(
            name=name,
            kind=kind,
            output_shape=list(layer.output_shape),
            parameters=sum(each.size for each in network.slices if each.layer == index),
        )
        for index, (name, kind, layer) in enumerate(
            zip(network.names, network.kinds, network.layers, strict=True)
        )
    ]
