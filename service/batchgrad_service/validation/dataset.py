"""Check a job's dataset against its spec: ids, targets, class weights."""

from typing import Any

import numpy.typing as npt

from batchgrad.contract import LOSSES, Dataset, JobSpec
from batchgrad.parsing.suggestions import suggest
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.class_names import names_of, range_of
from batchgrad_service.validation.labels import classes_hint
from batchgrad_service.validation.shapes import (
    are_probabilities,
    check_class_count,
    check_ids,
    check_probabilities,
    check_range,
    check_value_targets,
)
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.nn.network import Network

CHUNK = 1 << 16
MAX_WEIGHTED_CLASSES = 1 << 20
"""A table of this many weights has 8 MiB."""


def check_inputs(spec: JobSpec, stored: StoredDataset, network: Network) -> None:
    """Check that the inputs (n, …) are ids if the network begins with an embedding.

    Raises:
        InvalidError: the inputs are a table's or not integers, an id is too large, or standardize
            is true.
    """
    if not network.takes_ids:
        return
    if stored.table is not None:
        raise InvalidError.field(
            "/model/layers/0",
            "embedding takes ids, but the columns of a table reach the network as numbers, one for "
            "each category: begin with linear, or push ids as integer arrays (npz).",
        )
    if spec.standardize:
        raise InvalidError.field(
            "/standardize",
            "standardize is true, but embedding takes ids, which have no mean: set "
            "standardize: false.",
        )
    for start in range(0, len(stored.inputs), CHUNK):
        check_ids(spec.model, stored.inputs[start : start + CHUNK], "/dataset", first_row=start)


def check_targets(spec: JobSpec, dataset: Dataset, targets: npt.NDArray[Any], outputs: int) -> None:
    """Check that `targets` fit the loss and the number of `outputs`.

    Raises:
        InvalidError: wrong kind, shape or values.
    """
    loss = spec.network_loss
    if LOSSES[loss].target_kind == "class":
        if dataset.classes is None and are_probabilities(targets, outputs):
            for start in range(0, len(targets), CHUNK):
                part = targets[start : start + CHUNK]
                check_probabilities(loss, part, "/dataset", start)
            return
        if dataset.classes is None:
            raise InvalidError.field(
                "/loss",
                f"{loss} needs integer classes (n,), but dataset {dataset.name} has "
                f"{targets.dtype.name} targets of shape {list(targets.shape)}: store "
                f"{classes_hint(targets)}.",
            )
        check_class_count(targets, dataset.classes, outputs, "/model/layers", names_of(dataset))
        return
    pointer = "/loss" if dataset.classes is not None else "/model/layers"
    check_value_targets(loss, targets, outputs, pointer, dataset.classes)
    if LOSSES[loss].is_bounded:
        for start in range(0, len(targets), CHUNK):
            check_range(loss, targets[start : start + CHUNK], "/dataset", start)


def check_class_weights(spec: JobSpec, dataset: Dataset) -> None:
    """Check that class weights name classes of the dataset.

    Raises:
        InvalidError: there are no classes, too many, an unknown one, or all weights are 0.
    """
    if spec.class_weights is None:
        return
    if dataset.classes is None:
        raise InvalidError.field(
            "/class_weights",
            f"class_weights need classes, but the targets of dataset {dataset.name} are numbers: "
            "remove class_weights, or push the dataset with weights.",
        )
    if dataset.classes > MAX_WEIGHTED_CLASSES:
        raise InvalidError.field(
            "/class_weights",
            f"dataset {dataset.name} has class {dataset.classes - 1}; at most "
            f"{MAX_WEIGHTED_CLASSES} classes can have class_weights: number the classes 0, 1, 2, … "
            "without gaps, or remove class_weights.",
        )
    if isinstance(spec.class_weights, dict):
        names = names_of(dataset)
        known = names or [str(number) for number in range(dataset.classes)]
        unknown = sorted(spec.class_weights.keys() - set(known))
        if unknown:
            meant = suggest(unknown[0], known) if names else None
            hint = f"; did you mean {meant}?" if meant else ";"
            raise InvalidError.field(
                f"/class_weights/{unknown[0]}",
                f"dataset {dataset.name} has no class {unknown[0]}{hint} its classes are "
                f"{range_of(dataset.classes, names)}.",
            )
        if not any(spec.class_weights.get(label, 1.0) for label in known):
            raise InvalidError.field(
                "/class_weights", "All class weights are 0, so there is no mean: set one above 0."
            )
