"""Check that model, optimizer, loss, inputs and targets fit together."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract import LOSSES, Embedding, Loss, Model, Optimizer
from batchgrad_engine.training.parameter_groups import Unmatched, check_groups
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.class_names import range_of
from batchgrad_service.validation.images import storage_hint
from batchgrad_service.validation.labels import (
    classes_hint,
    first_class_hint,
    negative_classes_hint,
    probabilities_hint,
)
from batchgrad_workers.arrays import Shape
from batchgrad_workers.nn.network import LayerMismatch, Network

MOST_OFF = 1e-3
"""Largest distance from 1 of the sum of an example's probabilities, which are then scaled."""


def build_network(model: Model, input_shape: Shape) -> Network:
    """The network for inputs of this shape.

    Raises:
        InvalidError: the output of a layer does not fit the next one.
    """
    try:
        return Network(model, input_shape)
    except LayerMismatch as mismatch:
        detail = " ".join(filter(None, [str(mismatch), storage_hint(model, input_shape)]))
        place = "/layers/".join(map(str, mismatch.place))
        raise InvalidError.field(f"/model/layers/{place}", detail) from None


def check_parameter_groups(optimizer: Optimizer, names: Sequence[str]) -> None:
    """Check that each group of the optimizer has some of the parameters with these names.

    Raises:
        InvalidError: its pattern matches none, or only those of earlier groups.
    """
    try:
        check_groups(optimizer, names)
    except Unmatched as error:
        raise InvalidError.field(f"/optimizer/groups/{error.group}/match", str(error)) from None


def check_ids(model: Model, inputs: npt.NDArray[Any], pointer: str, *, first_row: int = 0) -> None:
    """Check that inputs (n, …) are ids of the embedding that `model` begins with.

    `first_row` is the number of the first of these examples in messages.

    Raises:
        InvalidError: the inputs are not integers, or an id is not in the embedding.
    """
    first = model.layers[0]
    if not isinstance(first, Embedding):
        return
    rows = first.num_embeddings
    if inputs.dtype.kind not in "iu":
        raise InvalidError.field(
            pointer,
            f"inputs have type {inputs.dtype.name}; embedding needs integer ids, 0 to {rows - 1}: "
            "store them as integers.",
        )
    outside = np.argwhere((inputs < 0) | (inputs >= rows))
    if len(outside):
        place = ", ".join(str(index) for index in (outside[0][0] + first_row, *outside[0][1:]))
        raise InvalidError.field(
            pointer,
            f"inputs[{place}] is {inputs[tuple(outside[0])]}; expected an id from 0 to {rows - 1}: "
            f"set num_embeddings to the largest id plus 1, or correct these examples.",
        )


def check_targets(
    loss: Loss,
    targets: npt.NDArray[Any],
    *,
    examples: int,
    outputs: int,
    pointer: str = "/targets",
    first_row: int = 0,
) -> None:
    """Check that targets (n,) or (n, out) fit `loss` and the number of `outputs`.

    `first_row` is the number of the first of these examples in messages.

    Raises:
        InvalidError: wrong number of rows, wrong kind, or a class out of range.
    """
    if len(targets) != examples:
        raise InvalidError.field(
            pointer,
            f"targets has {len(targets)} rows, inputs has {examples}: each example needs one "
            "target.",
        )
    if LOSSES[loss].target_kind == "class" and are_probabilities(targets, outputs):
        check_probabilities(loss, targets, pointer, first_row)
    elif LOSSES[loss].target_kind == "class":
        _check_classes(loss, targets, outputs, pointer)
    else:
        check_value_targets(loss, targets, outputs, pointer)
        check_range(loss, targets, pointer, first_row)


def are_probabilities(targets: npt.NDArray[Any], outputs: int) -> bool:
    """Whether targets have a number for each class, not its number."""
    return targets.ndim == 2 and targets.shape[1] == outputs > 1


def check_probabilities(
    loss: Loss, targets: npt.NDArray[Any], pointer: str, first_row: int = 0
) -> None:
    """Check that the rows of targets (n, classes) are probabilities.

    Raises:
        InvalidError: the first row that is none.
    """
    exact = targets.astype(np.float64)
    wrong = (exact < 0).any(axis=1) | ~(np.abs(exact.sum(axis=1) - 1) <= MOST_OFF)
    rows = np.flatnonzero(wrong)
    if len(rows):
        raise InvalidError.field(
            pointer,
            f"targets[{first_row + rows[0]}] is {targets[rows[0]].tolist()}; {loss} takes classes, "
            "or probabilities of the classes, which sum to 1: divide each row by its sum, or store "
            f"{classes_hint(targets)}.",
        )


def check_range(loss: Loss, targets: npt.NDArray[Any], pointer: str, first_row: int) -> None:
    """Check that targets (n, …), numbers, are in the range of `loss`.

    Raises:
        InvalidError: the first example with a target outside.
    """
    low, high = LOSSES[loss].target_range
    outside = ((targets < low) | (targets > high)).reshape(len(targets), prod(targets.shape[1:]))
    rows = np.flatnonzero(outside.any(axis=1))
    if len(rows):
        remedy = probabilities_hint(targets) if (low, high) == (0, 1) else ""
        raise InvalidError.field(
            pointer,
            f"targets[{first_row + rows[0]}] is {targets[rows[0]].tolist()}; {loss} needs "
            f"{LOSSES[loss].targets}{remedy}.",
        )


def check_value_targets(
    loss: Loss, targets: npt.NDArray[Any], outputs: int, pointer: str, classes: int | None = None
) -> None:
    """Check that targets (n, …) are `outputs` numbers per example.

    `classes` is the number of classes, if it is known and targets are integers.

    Raises:
        InvalidError: another shape.
    """
    shape = targets.shape[1:]
    if len(shape) > 1:
        raise InvalidError.field(
            pointer,
            f"targets has shape {list(shape)} per example; {loss} needs one row of numbers: "
            "flatten the targets.",
        )
    if not shape and outputs > 1 and targets.dtype.kind in "iu":
        count = classes or max(int(targets.max()) + 1, outputs)
        raise InvalidError.field(
            pointer,
            f"targets is one integer per example and the network has {outputs} outputs, so these "
            f"are classes; {loss} compares numbers. Use loss: softmax_cross_entropy, or one-hot "
            f"numbers: numpy.eye({count}, dtype='float32')[targets].",
        )
    got = shape[0] if shape else 1
    if got != outputs:
        raise InvalidError.field(
            pointer,
            f"targets has {got} value(s) per example, but the network has {outputs} output(s): "
            f"{loss} compares each output with one value. Give the last layer out_features: {got}.",
        )


def check_class_count(
    targets: npt.NDArray[Any],
    classes: int,
    outputs: int,
    pointer: str,
    names: list[str] | None = None,
) -> None:
    """Check that there is an output for each class of `targets` (n,), 0 … `classes` - 1.

    Raises:
        InvalidError: a class has no output.
    """
    if classes > outputs and names is not None:
        raise InvalidError.field(
            pointer,
            f"the dataset has {classes} classes ({range_of(classes, names)}), but the network has "
            f"{outputs} output(s): give the last layer out_features: {classes}.",
        )
    if classes > outputs:
        raise InvalidError.field(
            pointer,
            f"targets has class {classes - 1}, but the network has {outputs} output(s), for "
            f"classes 0 to {outputs - 1}: {first_class_hint(targets, classes)}give the last layer "
            f"out_features: {classes}.",
        )


def _check_classes(loss: Loss, targets: npt.NDArray[Any], outputs: int, pointer: str) -> None:
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        raise InvalidError.field(
            pointer,
            f"targets has type {targets.dtype.name} and shape {list(targets.shape)}; {loss} needs "
            f"one integer class per example, (n,): {classes_hint(targets)}.",
        )
    negative = np.flatnonzero(targets < 0)
    if len(negative):
        raise InvalidError.field(
            f"{pointer}/{negative[0]}",
            f"targets[{negative[0]}] is {targets[negative[0]]}; {negative_classes_hint(targets)}.",
        )
    check_class_count(targets, int(targets.max()) + 1, outputs, pointer)
