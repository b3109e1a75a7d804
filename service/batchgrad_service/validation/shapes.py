"""Do model, loss and targets fit together? Asked of a job's dataset and of a single minibatch."""

from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract import Embedding, Loss, Model
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.images import how_to_store
from batchgrad_service.validation.labels import (
    as_classes,
    from_zero,
    no_negatives,
    to_probabilities,
)
from batchgrad_workers.arrays import Shape
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.network import LayerMismatch, Network


def bind(model: Model, input_shape: Shape) -> Network:
    """The network on inputs of this shape.

    Raises:
        InvalidError: a layer can't take what the one below it gives.
    """
    try:
        return Network(model, input_shape)
    except LayerMismatch as mismatch:
        said = " ".join(filter(None, [str(mismatch), how_to_store(model, input_shape)]))
        raise InvalidError.field(f"/model/layers/{mismatch.layer}", said) from None


def check_ids(model: Model, inputs: npt.NDArray[Any], pointer: str, *, first_row: int = 0) -> None:
    """Refuse inputs (n, …) that are no ids of the embedding that `model` begins with.

    `first_row` is what the first of these examples is called in the message.

    Raises:
        InvalidError: numbers that are no integers, or an id without a row.
    """
    first = model.layers[0]
    if not isinstance(first, Embedding):
        return
    rows = first.num_embeddings
    if inputs.dtype.kind not in "iu":
        raise InvalidError.field(
            pointer,
            f"inputs are {inputs.dtype.name}; embedding takes integer ids, 0 to {rows - 1}: "
            "store them as integers.",
        )
    outside = np.argwhere((inputs < 0) | (inputs >= rows))
    if len(outside):
        place = ", ".join(str(index) for index in (outside[0][0] + first_row, *outside[0][1:]))
        raise InvalidError.field(
            pointer,
            f"inputs[{place}] is {inputs[tuple(outside[0])]}; ids are 0 to {rows - 1}: set "
            f"num_embeddings to the largest id and one, or repair these examples.",
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
    """Refuse targets (n,) or (n, out) that do not fit `loss` on a network with `outputs`.

    `first_row` is what the first of these examples is called in the message.

    Raises:
        InvalidError: wrong count, wrong kind, or a class out of range.
    """
    if len(targets) != examples:
        raise InvalidError.field(
            pointer,
            f"targets has {len(targets)} rows, inputs has {examples}: each example needs one "
            "target.",
        )
    if LOSSES[loss].targets == "classes":
        _check_classes(loss, targets, outputs, pointer)
    else:
        check_value_targets(loss, targets, outputs, pointer)
        if loss == "sigmoid_cross_entropy" and len(targets):
            outside = np.flatnonzero(
                ((targets < 0) | (targets > 1)).reshape(len(targets), -1).any(1)
            )
            if len(outside):
                raise InvalidError.field(
                    pointer,
                    f"targets[{first_row + outside[0]}] is {targets[outside[0]].tolist()}; "
                    f"sigmoid_cross_entropy takes probabilities, 0 to 1"
                    f"{to_probabilities(targets)}.",
                )


def check_value_targets(
    loss: Loss, targets: npt.NDArray[Any], outputs: int, pointer: str, classes: int | None = None
) -> None:
    """Refuse targets (n, …) unless they are `outputs` numbers an example.

    `classes` is how many there are, if that is known and targets are integers.

    Raises:
        InvalidError: another shape.
    """
    shape = targets.shape[1:]
    if len(shape) > 1:
        raise InvalidError.field(
            pointer,
            f"targets has shape {list(shape)} per example; {loss} takes one row of numbers: "
            "flatten the targets.",
        )
    if not shape and outputs > 1 and targets.dtype.kind in "iu":
        count = classes or max(int(targets.max()) + 1, outputs)
        raise InvalidError.field(
            pointer,
            f"targets are integers, one an example, and the network has {outputs} outputs: these "
            f"are classes, {loss} compares numbers. Take loss: softmax_cross_entropy, or give "
            f"one-hot numbers: numpy.eye({count}, dtype='float32')[targets].",
        )
    got = shape[0] if shape else 1
    if got != outputs:
        raise InvalidError.field(
            pointer,
            f"targets has {got} value(s) per example, the network has {outputs} output(s): "
            f"{loss} compares them one by one, so give the last layer out_features: {got}.",
        )


def check_class_count(
    loss: Loss, targets: npt.NDArray[Any], classes: int, outputs: int, pointer: str
) -> None:
    """Refuse `targets` (n,), classes 0 … `classes` - 1, when the network has fewer `outputs`.

    Raises:
        InvalidError: a class without an output.
    """
    if classes > outputs:
        raise InvalidError.field(
            pointer,
            f"targets holds class {classes - 1}, the network has {outputs} output(s), classes 0 "
            f"to {outputs - 1}: {from_zero(targets, classes)}{loss} needs out_features: {classes} "
            "in the last layer.",
        )


def _check_classes(loss: Loss, targets: npt.NDArray[Any], outputs: int, pointer: str) -> None:
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        raise InvalidError.field(
            pointer,
            f"targets are {targets.dtype.name} of shape {list(targets.shape)}; {loss} takes one "
            f"integer class per example, (n,): {as_classes(targets)}.",
        )
    negative = np.flatnonzero(targets < 0)
    if len(negative):
        raise InvalidError.field(
            f"{pointer}/{negative[0]}",
            f"targets[{negative[0]}] is {targets[negative[0]]}; {no_negatives(targets)}.",
        )
    check_class_count(loss, targets, int(targets.max()) + 1, outputs, pointer)
