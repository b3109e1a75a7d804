"""Check a job's dataset against its spec: ids, targets, classes that have weights."""

from typing import Any

import numpy.typing as npt

from batchgrad.contract import Dataset, JobSpec
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation import shapes
from batchgrad_service.validation.labels import as_classes
from batchgrad_service.validation.shapes import check_class_count, check_ids, check_value_targets
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.network import Network

CHUNK = 1 << 16
MAX_WEIGHTED_CLASSES = 1 << 20
"""A table of so many weights is 8 MiB."""


def check_inputs(spec: JobSpec, inputs: npt.NDArray[Any], network: Network) -> None:
    """Refuse `inputs` (n, …) that are no ids, where an embedding takes them.

    Raises:
        InvalidError: numbers, an id without a row, or ids that are to be standardized.
    """
    if not network.takes_ids:
        return
    if spec.standardize:
        raise InvalidError.field(
            "/standardize", "embedding takes ids, which have no mean: set standardize: false."
        )
    for start in range(0, len(inputs), CHUNK):
        check_ids(spec.model, inputs[start : start + CHUNK], "/dataset", first_row=start)


def check_targets(spec: JobSpec, dataset: Dataset, targets: npt.NDArray[Any], outputs: int) -> None:
    """Refuse `targets` that do not fit the loss on a network with `outputs`.

    Raises:
        InvalidError: another kind or shape, or values that the loss does not take.
    """
    loss = spec.loss
    if LOSSES[loss].targets == "classes":
        if dataset.classes is None:
            raise InvalidError.field(
                "/loss",
                f"{loss} takes integer classes (n,), dataset {dataset.name} has "
                f"{targets.dtype.name} targets of shape {list(targets.shape)}: store "
                f"{as_classes(targets)}.",
            )
        check_class_count(loss, targets, dataset.classes, outputs, "/model/layers")
        return
    pointer = "/loss" if dataset.classes is not None else "/model/layers"
    check_value_targets(loss, targets, outputs, pointer, dataset.classes)
    if loss == "sigmoid_cross_entropy":
        for start in range(0, len(targets), CHUNK):
            chunk = targets[start : start + CHUNK]
            shapes.check_targets(
                loss,
                chunk,
                examples=len(chunk),
                outputs=outputs,
                pointer="/dataset",
                first_row=start,
            )


def check_class_weights(spec: JobSpec, dataset: Dataset) -> None:
    """Refuse class weights that are not of the dataset's classes.

    Raises:
        InvalidError: there are no classes, too many, not this one, or all have weight 0.
    """
    if spec.class_weights is None:
        return
    if dataset.classes is None:
        raise InvalidError.field(
            "/class_weights",
            f"class_weights need classes, dataset {dataset.name} has targets that are numbers: "
            "leave class_weights out, or give the dataset weights.",
        )
    if dataset.classes > MAX_WEIGHTED_CLASSES:
        raise InvalidError.field(
            "/class_weights",
            f"class_weights need a table of all classes, dataset {dataset.name} has class "
            f"{dataset.classes - 1}; at most {MAX_WEIGHTED_CLASSES} classes can be weighted: "
            "number them 0, 1, 2, … without gaps, or leave class_weights out.",
        )
    if isinstance(spec.class_weights, dict):
        unknown = sorted(label for label in spec.class_weights if label >= dataset.classes)
        if unknown:
            raise InvalidError.field(
                f"/class_weights/{unknown[0]}",
                f"dataset {dataset.name} has no class {unknown[0]}; it has 0 to "
                f"{dataset.classes - 1}.",
            )
        if not any(spec.class_weights.get(label, 1.0) for label in range(dataset.classes)):
            raise InvalidError.field(
                "/class_weights", "All class weights are 0, so there is no mean: make one positive."
            )
