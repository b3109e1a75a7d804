"""Evaluate a job's parameters on the examples of a task; the figures are scikit-learn's."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from batchgrad.contract import Evaluation
from batchgrad_service.predicting.answers import answers, class_names
from batchgrad_service.predicting.batches import Batch
from batchgrad_service.predicting.examples import examples
from batchgrad_service.predicting.tasks import Task
from batchgrad_service.predicting.trained_network import TrainedNetwork
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.row_progress import RowProgress
from batchgrad_service.validation.shapes import check_targets
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.losses import LOSSES, target_rows

MOST_NUMBERS = 2**24
"""Most probabilities or targets that are kept for figures over all examples: 128 MB."""

MOST_CLASSES = 1000
"""A confusion matrix of more would have millions of numbers."""


class EvaluationDone(BaseModel):
    """What a process says after an evaluation."""

    evaluation: Evaluation
    warnings: list[str]


@dataclass
class _Seen:
    """What the figures are computed from, batch by batch; rows of weight 0 are left out."""

    losses: list[Array] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)
    targets: list[npt.NDArray[Any]] = field(default_factory=list)
    predicted: list[npt.NDArray[Any]] = field(default_factory=list)
    probabilities: list[Floats] = field(default_factory=list)
    right: int = 0
    rows: int = 0
    numbers: int = 0


def evaluate(task: Task, progress: RowProgress) -> EvaluationDone:
    """Compute the figures of an evaluation.

    Raises:
        ProblemError: the examples do not fit the network, or the job's parameters are damaged.
    """
    found = examples(task.data, TrainedNetwork.load(task.trained), with_targets=True)
    network, seen, done = found.network, _Seen(), 0
    for batch in found.batches:
        _add(seen, batch, network, done)
        done += len(batch.inputs)
        progress(done, found.rows)
    if not seen.rows:
        raise InvalidError.field("/dataset", "There are no examples with a weight above 0.")
    figures, warnings = _figures(seen, network)
    return EvaluationDone(
        evaluation=Evaluation(
            examples=seen.rows,
            parameters_digest=network.source.digest,
            parameters_step=network.source.step,
            **figures,
        ),
        warnings=[*network.warnings, *found.warnings, *warnings],
    )


def _add(seen: _Seen, batch: Batch, network: TrainedNetwork, first_row: int) -> None:
    targets, weights = batch.targets, batch.weights
    if targets is None:
        raise InvalidError.field(
            "/file", "The examples have no targets, so nothing can be compared with them: add them."
        )
    inputs = batch.inputs
    if weights is not None:
        present = weights > 0
        inputs, targets, weights = inputs[present], targets[present], weights[present]
    if not len(inputs):
        return
    check_targets(
        network.spec.loss,
        targets,
        examples=len(inputs),
        outputs=network.network.outputs,
        first_row=first_row,
    )
    outputs = network.outputs(inputs)
    loss = LOSSES[network.spec.loss]
    rows = target_rows(loss, targets, network.network.outputs, outputs.dtype)
    with np.errstate(all="ignore"):
        losses, _ = loss.function(outputs, rows)
    seen.losses.append(losses)
    seen.weights.append(np.ones(len(losses)) if weights is None else weights.astype(np.float64))
    seen.rows += len(losses)
    if loss.correct is not None:
        seen.right += int(loss.correct(outputs, rows).sum())
    answered = answers(outputs, network)
    if answered.classes is not None and targets.dtype.kind in "iu":
        seen.targets.append(np.asarray(targets).reshape(-1).astype(np.int64))
        seen.predicted.append(answered.classes)
        seen.numbers += 0 if answered.probabilities is None else answered.probabilities.size
        if answered.probabilities is not None and seen.numbers <= MOST_NUMBERS:
            seen.probabilities.append(answered.probabilities)
    elif answered.numbers is not None and loss.target_kind == "value":
        seen.targets.append(rows.astype(np.float64))
        seen.predicted.append(answered.numbers)
        seen.numbers += rows.size


def _figures(seen: _Seen, network: TrainedNetwork) -> tuple[dict[str, Any], list[str]]:
    """The figures by name, and warnings of those that were left out."""
    weights = np.concatenate(seen.weights)
    losses = np.concatenate(seen.losses).astype(np.float64)
    loss = float(np.average(losses, weights=weights / weights.max()))
    figures: dict[str, Any] = {"loss": loss if isfinite(loss) else None}
    if LOSSES[network.spec.loss].correct is not None:
        figures["accuracy"] = seen.right / seen.rows
    if not seen.targets:
        return figures, []
    targets, predicted = np.concatenate(seen.targets), np.concatenate(seen.predicted)
    if network.loss.target_kind == "value":
        return figures | _of_numbers(targets, predicted, weights), []
    return _of_classes(figures, targets, predicted, seen, class_names(network))


def _of_classes(
    figures: dict[str, Any],
    targets: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    seen: _Seen,
    names: list[str],
) -> tuple[dict[str, Any], list[str]]:
    # Importing it takes a second.
    from sklearn.metrics import confusion_matrix, recall_score  # noqa: PLC0415

    warnings = []
    present = np.unique(targets)
    figures["balanced_accuracy"] = float(
        recall_score(targets, predicted, labels=present, average="macro", zero_division=0)
    )
    if len(names) <= MOST_CLASSES:
        labels = np.arange(len(names))
        figures["confusion"] = confusion_matrix(targets, predicted, labels=labels).tolist()
        figures["classes"] = names
    else:
        warnings.append(f"The confusion matrix was left out: {len(names)} classes are too many.")
    if seen.numbers > MOST_NUMBERS:
        warnings.append(f"AUC was left out: {seen.numbers:,} probabilities are too many.")
    else:
        figures["auc"] = _auc(targets, np.concatenate(seen.probabilities))
    return figures, warnings


def _auc(targets: npt.NDArray[Any], probabilities: Floats) -> float | None:
    """Area under the ROC curve; None if a class has no example, or only one has."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415

    present = np.unique(targets)
    if len(present) < 2 or len(present) < probabilities.shape[1]:
        return None
    if probabilities.shape[1] == 2:
        return float(roc_auc_score(targets, probabilities[:, 1]))
    return float(roc_auc_score(targets, probabilities, multi_class="ovr"))


def _of_numbers(
    targets: npt.NDArray[Any], predicted: npt.NDArray[Any], weights: Floats
) -> dict[str, Any]:
    from sklearn.metrics import (  # noqa: PLC0415
        mean_absolute_error,
        r2_score,
        root_mean_squared_error,
    )

    if not np.isfinite(predicted).all():
        return {}
    return {
        "r2": r2_score(targets, predicted, sample_weight=weights) if len(targets) > 1 else None,
        "rmse": float(root_mean_squared_error(targets, predicted, sample_weight=weights)),
        "mae": float(mean_absolute_error(targets, predicted, sample_weight=weights)),
    }
