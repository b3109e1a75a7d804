"""Predict the examples of a task, to a file or as an answer."""

from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from batchgrad.contract import PredictionRequest, Predictions
from batchgrad_service.predicting.answers import (
    ClassAnswers,
    NumberAnswers,
    answers,
    class_names,
    number_names,
)
from batchgrad_service.predicting.batches import Batch, OpenedExamples
from batchgrad_service.predicting.examples import examples
from batchgrad_service.predicting.tasks import FileTask, InputsData, RowsData, TrainedTask
from batchgrad_service.predicting.trained_network import TrainedNetwork
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.row_progress import RowProgress
from batchgrad_workers.arrays import Array


class PredictionDone(BaseModel):
    """What a process says after a file of predictions."""

    warnings: list[str]
    parameters_digest: str
    parameters_step: int


def predict_to_file(task: FileTask, progress: RowProgress) -> PredictionDone:
    """Write a column for the prediction, and one for each class's probability.

    Raises:
        ProblemError: the examples do not fit the network, or the job's parameters are damaged.
    """
    # pyarrow takes 40 MB, which other questions need not have.
    from batchgrad_service.predicting.writers import new_file  # noqa: PLC0415

    found = examples(task.data, TrainedNetwork.load(task.trained), with_targets=False)
    done = 0
    with new_file(task.to, task.format) as writer:
        for batch in found.batches:
            writer.write(_columns(batch, found, done))
            done += len(batch.inputs)
            progress(done, found.rows)
    return PredictionDone(
        warnings=[*found.network.warnings, *found.warnings],
        parameters_digest=found.network.source.digest,
        parameters_step=found.network.source.step,
    )


def predict_now(trained: TrainedTask, request: PredictionRequest) -> Predictions:
    """Predict a request's rows or inputs. Raises ProblemErrors as `predict_to_file` does."""
    data: RowsData | InputsData
    if request.rows is not None:
        data = RowsData(rows=request.rows)
    elif request.inputs is not None:
        data = InputsData(inputs=request.inputs)
    else:
        raise InvalidError.field("", "The request is longer than one for a file or a dataset is.")
    trained = trained.model_copy(update={"which": request.which})
    found = examples(data, TrainedNetwork.load(trained), with_targets=False)
    network = found.network
    batches = list(found.batches)
    firsts = accumulate((len(batch.inputs) for batch in batches), initial=0)
    parts = [
        answers(_finite_outputs(batch, network, first), network)
        for batch, first in zip(batches, firsts, strict=False)
    ]
    probabilities = [part.probabilities for part in parts if isinstance(part, ClassAnswers)]
    ids = [each for batch in batches for each in _texts(batch.ids)]
    classes = class_names(network) if probabilities else None
    return Predictions(
        prediction=[
            value for part in parts for value in part.predictions(network.training.classes).tolist()
        ],
        probabilities=np.concatenate(probabilities).tolist() if probabilities else None,
        classes=classes,
        ids=ids or None,
        parameters_digest=network.source.digest,
        parameters_step=network.source.step,
        warnings=[*network.warnings, *found.warnings],
    )


def _columns(batch: Batch, found: OpenedExamples, first_row: int) -> dict[str, npt.NDArray[Any]]:
    """The columns of a batch's predictions (n,), after its ids if it has them."""
    network = found.network
    answered = answers(_finite_outputs(batch, network, first_row), network)
    columns: dict[str, npt.NDArray[Any]] = {}
    if batch.ids is not None:
        columns[found.id_name] = np.array(_texts(batch.ids), object)
    if isinstance(answered, NumberAnswers):
        return columns | dict(zip(number_names(network), answered.numbers.T, strict=True))
    columns["prediction"] = answered.predictions(network.training.classes)
    names = (f"probability_{name}" for name in class_names(network))
    return columns | dict(zip(names, answered.probabilities.T, strict=True))


def _finite_outputs(batch: Batch, network: TrainedNetwork, first_row: int) -> Array:
    """The network's outputs (n, outputs). Raises InvalidError if one is not finite."""
    with np.errstate(all="ignore"):
        outputs = network.outputs(batch.inputs)
    finite = np.isfinite(outputs).all(axis=1)
    if not finite.all():
        raise InvalidError.field(
            "",
            f"The network's outputs for example {first_row + int(finite.argmin())} (the first is "
            "0) are not finite numbers: its inputs are too large, or the job's training diverged. "
            "Correct the inputs, or train with a smaller learning rate.",
            code="outputs_not_finite",
        )
    return outputs


def _texts(ids: npt.NDArray[Any] | None) -> list[str]:
    return [] if ids is None else [each.decode() for each in ids.tolist()]
