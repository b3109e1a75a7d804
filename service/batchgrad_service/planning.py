"""What a job would do, and whether it can: worked out from spec and dataset, nothing is run."""

import os
from math import prod
from pathlib import Path

import numpy as np

from batchgrad.contract import Dataset, JobSpec, Plan, PlannedLayer, ShortcutName
from batchgrad_service.advice import warnings
from batchgrad_service.fitting import (
    as_classes,
    bind,
    check_class_count,
    check_ids,
    check_targets,
    check_value_targets,
)
from batchgrad_service.problems import Invalid
from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.dataset import StoredDataset
from batchgrad_workers.losses import LOSSES
from batchgrad_workers.means import MeansLayout
from batchgrad_workers.network import Network
from batchgrad_workers.order import Order
from batchgrad_workers.shard import microbatches, wants_means
from batchgrad_workers.weights import Weights

CHUNK = 1 << 16
MAX_MEANS = 1 << 26
MAX_WEIGHTED_CLASSES = 1 << 20
"""A table of so many weights is 8 MiB."""

VECTORS = 8
"""Arrays of P numbers that an engine holds: θ twice, G, sums, means, the optimizer's state."""


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
    _refuse_large(spec, network, weighted=dataset.weighted)
    _check_inputs(spec, directory, network)
    _check_targets(spec, dataset, directory, network)
    _check_class_weights(spec, dataset)
    order = Order(
        seed=spec.seed,
        examples=dataset.examples,
        validation_fraction=spec.validation_fraction,
        batch_size=spec.minibatch(dataset.examples),
        present=present_rows(spec, StoredDataset.open(directory)),
    )
    if not len(order.training):
        raise Invalid.field(
            "/class_weights",
            f"class_weights and the weights of dataset {dataset.name} leave none of "
            f"{dataset.examples} examples a weight above 0: make one positive.",
        )
    _check_early_stopping(spec, dataset, len(order.validation))
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
        warnings=warnings(
            spec,
            training_examples=len(order.training),
            steps_planned=steps_planned,
            steps_per_epoch=order.steps_per_epoch,
            microbatches_per_step=microbatches(order.batch_size, spec.microbatch),
        ),
    )


def wanted_shortcuts(spec: JobSpec, *, weighted: bool) -> tuple[ShortcutName, ...]:
    """The shortcuts to measure: those asked for, or those that say something on this data."""
    if spec.shortcuts is not None:
        return tuple(dict.fromkeys(spec.shortcuts))
    if weighted or spec.class_weights is not None or spec.update == "mean_of_means":
        return ("averaged_error", "mean_example", "mean_of_means")
    return ("averaged_error", "mean_example")


def present_rows(spec: JobSpec, stored: StoredDataset) -> Integers | None:
    """The rows that the job has, those of a weight above 0; None where that is all of them."""
    given = isinstance(spec.class_weights, dict)
    classes = int(stored.targets.max()) + 1 if given else 0
    return Weights(stored.weights, given_class_weights(spec, classes), stored.targets).present


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


def _refuse_large(spec: JobSpec, network: Network, *, weighted: bool) -> None:
    """Refuse what this machine cannot hold: θ, G and their like, a microbatch's activations.

    The shortcuts need mean inputs, which for an embedding are one number per position and id.
    """
    itemsize = np.dtype(spec.precision).itemsize
    widths = sum(prod(layer.output_shape) for layer in network.layers)
    averaged = wants_means(needed_shortcuts(spec, weighted=weighted))
    means = MeansLayout(network).size if averaged else 0
    if means > MAX_MEANS:
        raise Invalid.field(
            "/shortcuts",
            f"The shortcuts average {means} numbers at every step, at most {MAX_MEANS} are "
            "allowed (an embedding has one for each position and id): set shortcuts: [].",
        )
    needed = itemsize * (VECTORS * (network.size + means) + 2 * spec.microbatch * widths)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        raise Invalid.field(
            "/model",
            f"{network.size} parameters and {spec.microbatch} x {widths} activations need about "
            f"{needed / 2**30:.0f} GiB, this machine has {memory / 2**30:.0f} GiB: use narrower "
            "layers or a smaller microbatch_size.",
        )


def _check_inputs(spec: JobSpec, directory: Path, network: Network) -> None:
    if not network.takes_ids:
        return
    if spec.standardize:
        raise Invalid.field(
            "/standardize", "embedding takes ids, which have no mean: set standardize: false."
        )
    inputs = StoredDataset.open(directory).inputs
    for start in range(0, len(inputs), CHUNK):
        check_ids(spec.model, inputs[start : start + CHUNK], "/dataset", first_row=start)


def _check_targets(spec: JobSpec, dataset: Dataset, directory: Path, network: Network) -> None:
    loss, outputs = spec.loss, network.outputs
    targets = StoredDataset.open(directory).targets
    if LOSSES[loss].targets == "classes":
        if dataset.classes is None:
            raise Invalid.field(
                "/loss",
                f"{loss} takes integer classes (n,), dataset {dataset.name} has "
                f"{targets.dtype.name} targets of shape {list(targets.shape)}: store "
                f"{as_classes(targets)}.",
            )
        check_class_count(loss, dataset.classes, outputs, "/model/layers")
        return
    pointer = "/loss" if dataset.classes is not None else "/model/layers"
    check_value_targets(loss, targets, outputs, pointer, dataset.classes)
    if loss == "sigmoid_cross_entropy":
        for start in range(0, len(targets), CHUNK):
            chunk = targets[start : start + CHUNK]
            check_targets(
                loss,
                chunk,
                examples=len(chunk),
                outputs=outputs,
                pointer="/dataset",
                first_row=start,
            )


def _check_class_weights(spec: JobSpec, dataset: Dataset) -> None:
    if spec.class_weights is None:
        return
    if dataset.classes is None:
        raise Invalid.field(
            "/class_weights",
            f"class_weights need classes, dataset {dataset.name} has targets that are numbers: "
            "leave class_weights out, or give the dataset weights.",
        )
    if dataset.classes > MAX_WEIGHTED_CLASSES:
        raise Invalid.field(
            "/class_weights",
            f"class_weights need a table of all classes, dataset {dataset.name} has class "
            f"{dataset.classes - 1}; at most {MAX_WEIGHTED_CLASSES} classes can be weighted: "
            "number them 0, 1, 2, … without gaps, or leave class_weights out.",
        )
    if isinstance(spec.class_weights, dict):
        unknown = sorted(label for label in spec.class_weights if label >= dataset.classes)
        if unknown:
            raise Invalid.field(
                f"/class_weights/{unknown[0]}",
                f"dataset {dataset.name} has no class {unknown[0]}; it has 0 to "
                f"{dataset.classes - 1}.",
            )
        if not any(spec.class_weights.get(label, 1.0) for label in range(dataset.classes)):
            raise Invalid.field(
                "/class_weights", "All class weights are 0, so there is no mean: make one positive."
            )


def _check_early_stopping(spec: JobSpec, dataset: Dataset, validation_examples: int) -> None:
    if spec.early_stopping is None:
        return
    if not validation_examples:
        raise Invalid.field(
            "/validation_fraction",
            f"early_stopping looks at validation figures, but {spec.validation_fraction:g} of "
            f"{dataset.examples} examples is none: raise validation_fraction.",
        )
    if spec.early_stopping.metric == "validation_accuracy" and not LOSSES[spec.loss].correct:
        raise Invalid.field(
            "/early_stopping/metric",
            f"{spec.loss} has no accuracy: set metric: validation_loss.",
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
