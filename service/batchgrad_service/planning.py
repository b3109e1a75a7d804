"""What a job would do, and whether it can: worked out from spec and dataset, nothing is run."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from batchgrad.contract import Dataset, JobSpec, Plan, PlannedLayer, ShortcutName
from batchgrad_service.advice import warnings
from batchgrad_service.data_advice import data_warnings
from batchgrad_service.dataset_checks import check_class_weights, check_inputs, check_targets
from batchgrad_service.fitting import bind
from batchgrad_service.memory import job_bytes, machine_bytes
from batchgrad_service.output_advice import output_warnings
from batchgrad_service.problems import Invalid
from batchgrad_service.split_checks import check_split
from batchgrad_workers.arrays import Array
from batchgrad_workers.dataset import StoredDataset
from batchgrad_workers.network import Network
from batchgrad_workers.order import Order
from batchgrad_workers.shard import microbatches, wants_means
from batchgrad_workers.weights import Weights


def plan(spec: JobSpec, dataset: Dataset, directory: Path) -> Plan:
    """The plan of `spec` on the dataset stored in `directory`.

    Raises:
        Invalid: spec and dataset do not fit; the problem names the field and the remedy.
    """
    network = bind(spec.model, tuple(dataset.input_shape))
    if not network.learning:
        raise Invalid.field(
            "/model/layers", "No layer has parameters, so nothing can be learned: add a linear one."
        )
    averaged = wants_means(needed_shortcuts(spec, weighted=dataset.weighted))
    memory_bytes = job_bytes(spec, network, averaged=averaged)
    stored = StoredDataset.open(directory)
    check_inputs(spec, stored.inputs, network)
    check_targets(spec, dataset, stored.targets, network.outputs)
    check_class_weights(spec, dataset)
    order = order_of(spec, stored)
    if not len(order.training):
        raise Invalid.field(
            "/class_weights",
            f"class_weights and the weights of dataset {dataset.name} leave none of "
            f"{dataset.examples} examples a weight above 0: make one positive.",
        )
    split_warnings = check_split(spec, order)
    steps_planned = spec.steps or (spec.epochs or 0) * order.steps_per_epoch
    return Plan(
        dataset_digest=dataset.digest,
        training_examples=len(order.training),
        validation_examples=len(order.validation),
        parameters=network.size,
        layers=_layers(spec, network),
        steps_planned=steps_planned,
        steps_per_epoch=order.steps_per_epoch,
        microbatches_per_step=microbatches(order.batch_size, spec.microbatch),
        microbatch_size=spec.microbatch,
        shortcuts=list(wanted_shortcuts(spec, weighted=dataset.weighted)),
        gradient_bytes=network.size * np.dtype(spec.precision).itemsize,
        memory_bytes=memory_bytes,
        warnings=[
            *output_warnings(spec, network, stored.targets, order.present, dataset.classes),
            *data_warnings(spec, dataset, stored, order.present, network),
            *split_warnings,
            *_memory_warnings(memory_bytes),
            *warnings(
                spec,
                training_examples=len(order.training),
                steps_planned=steps_planned,
                steps_per_epoch=order.steps_per_epoch,
                microbatches_per_step=microbatches(order.batch_size, spec.microbatch),
            ),
        ],
    )


def wanted_shortcuts(spec: JobSpec, *, weighted: bool) -> tuple[ShortcutName, ...]:
    """The shortcuts to measure: those asked for, or those that say something on this data."""
    if spec.shortcuts is not None:
        return tuple(dict.fromkeys(spec.shortcuts))
    if weighted or spec.class_weights is not None or spec.update == "mean_of_means":
        return ("averaged_error", "mean_example", "mean_of_means")
    return ("averaged_error", "mean_example")


def order_of(spec: JobSpec, stored: StoredDataset) -> Order:
    """The split and the order of the rows that the job has, those of a weight above 0."""
    given = isinstance(spec.class_weights, dict)
    classes = int(stored.targets.max()) + 1 if given else 0
    weights = Weights(stored.weights, given_class_weights(spec, classes), stored.targets)
    return Order(
        seed=spec.seed,
        examples=len(stored.inputs),
        validation_fraction=spec.validation_fraction,
        batch_size=spec.minibatch(len(stored.inputs)),
        present=weights.present,
    )


def given_class_weights(spec: JobSpec, classes: int) -> Array | None:
    """One weight a class (classes,), 1 where the spec has none; None unless it lists them."""
    if not isinstance(spec.class_weights, dict):
        return None
    return np.array([spec.class_weights.get(label, 1.0) for label in range(classes)])


def needed_shortcuts(spec: JobSpec, *, weighted: bool) -> tuple[ShortcutName, ...]:
    """The shortcuts whose sums workers return: those measured, and the one that is trained on."""
    wanted = wanted_shortcuts(spec, weighted=weighted)
    return (
        wanted if spec.update == "mean_gradient" else tuple(dict.fromkeys([*wanted, spec.update]))
    )


def _memory_warnings(memory_bytes: int) -> Iterator[str]:
    if memory_bytes > machine_bytes() / 2:
        yield (
            f"A step holds about {memory_bytes / 2**30:.1f} GiB in each process that computes, "
            f"with one thread; this machine has {machine_bytes() / 2**30:.1f} GiB."
        )


def _layers(spec: JobSpec, network: Network) -> list[PlannedLayer]:
    return [
        PlannedLayer(
            name=str(index),
            kind=layer_spec.kind,
            output_shape=list(layer.output_shape),
            parameters=sum(slot.size for slot in network.slots if slot.layer == index),
        )
        for index, (layer_spec, layer) in enumerate(
            zip(spec.model.layers, network.layers, strict=True)
        )
    ]
