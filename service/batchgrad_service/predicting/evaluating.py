"""Evaluate a job's parameters on the examples of a task; the figures are scikit-learn's."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from batchgrad.contract import Evaluation
from batchgrad_service.predicting.answers import ClassAnswers, answers, class_names
from batchgrad_service.predicting.batches import Batch
from batchgrad_service.predicting.examples import examples
from batchgrad_service.predicting.sums import ClassSums, Losses, NumberSums
from batchgrad_service.predicting.tasks import Task
from batchgrad_service.predicting.trained_network import TrainedNetwork
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.row_progress import RowProgress
from batchgrad_service.validation.shapes import check_targets
from batchgrad_workers.nn.losses import LOSSES, target_rows


class EvaluationDone(BaseModel):
    """What a process says after an evaluation."""

    evaluation: Evaluation
    warnings: list[str]


@dataclass
class _Sums:
    """What the figures follow from; rows of weight 0 are left out."""

    losses: Losses
    classes: ClassSums
    numbers: NumberSums


def evaluate(task: Task, progress: RowProgress) -> EvaluationDone:
    """Compute the figures of an evaluation.

    Raises:
        ProblemError: the examples do not fit the network, or the job's parameters are damaged.
    """
    found = examples(task.data, TrainedNetwork.load(task.trained), with_targets=True)
    network, done = found.network, 0
    sums = _Sums(Losses(), ClassSums(class_names(network)), NumberSums())
    with np.errstate(all="ignore"):  # figures that are not finite are undefined
        for batch in found.batches:
            _add(sums, batch, network, done)
            done += len(batch.inputs)
            progress(done, found.rows)
        if not sums.losses.rows:
            raise InvalidError.field("/dataset", "There are no examples with a weight above 0.")
        figures, warnings = _figures(sums, network)
    return EvaluationDone(
        evaluation=Evaluation(
            examples=sums.losses.rows,
            parameters_digest=network.source.digest,
            parameters_step=network.source.step,
            **figures,
        ),
        warnings=[*network.warnings, *found.warnings, *warnings],
    )


def _add(sums: _Sums, batch: Batch, network: TrainedNetwork, first_row: int) -> None:
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
        network.spec.network_loss,
        targets,
        examples=len(inputs),
        outputs=network.network.outputs,
        first_row=first_row,
    )
    outputs = network.outputs(inputs)
    loss = LOSSES[network.spec.network_loss]
    rows = target_rows(loss, targets, network.network.outputs, outputs.dtype)
    losses, _ = loss.function(outputs, rows)
    given = np.ones(len(losses)) if weights is None else weights.astype(np.float64)
    right = int(loss.correct(outputs, rows).sum()) if loss.correct else 0
    sums.losses.add(losses, given, right)
    answered = answers(outputs, network)
    if isinstance(answered, ClassAnswers):
        if targets.dtype.kind in "iu":  # else they are probabilities
            sums.classes.add(targets.astype(np.int64), answered.classes, answered.probabilities)
    elif loss.target_kind == "value":
        sums.numbers.add(rows.astype(np.float64), answered.numbers, given)


def _figures(sums: _Sums, network: TrainedNetwork) -> tuple[dict[str, Any], list[str]]:
    """The figures by name, and warnings of those that were left out."""
    figures: dict[str, Any] = {"loss": sums.losses.mean}
    if LOSSES[network.spec.network_loss].correct is not None:
        figures["accuracy"] = sums.losses.right / sums.losses.rows
    if sums.numbers.rows:
        return figures | sums.numbers.figures, []
    if sums.classes.counts.any():
        return figures | sums.classes.figures, sums.classes.warnings
    return figures, []
