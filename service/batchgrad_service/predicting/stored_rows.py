"""Predict stored rows beside their targets: chosen ones, or as many as a second takes."""

from collections.abc import Iterator
from time import process_time
from typing import Any

import numpy as np
from pydantic import BaseModel

from batchgrad.contract import Kept
from batchgrad_service.predicting.answers import ClassAnswers, answers, class_names
from batchgrad_service.predicting.arrays import of_dataset
from batchgrad_service.predicting.batches import Batch
from batchgrad_service.predicting.tasks import DatasetData, TrainedTask
from batchgrad_service.predicting.trained_network import TrainedNetwork

SECONDS = 1.0
"""CPU time after which no further rows are predicted."""

ROWS_AT_ONCE = 128


class StoredRowsTask(BaseModel):
    """A job's parameters, and the stored rows to predict."""

    trained: TrainedTask
    data: DatasetData


class StoredPredictions(BaseModel):
    """Predictions of `rows`, as many of the `of` that were asked for as there was time for.

    `prediction` has classes if there are `classes`, their names in order, else numbers or lists of
    numbers; None where the network's outputs are not finite. `named`: the dataset names classes.
    `probability` is that of the class. `target` has a class for each row, a number, or is None.
    """

    rows: list[int] = []
    of: int
    prediction: list[Any] = []
    probability: list[float | None] = []
    target: list[Any] = []
    classes: list[str] | None = None
    named: bool
    step: int
    which: Kept

    def add(self, batch: Batch, network: TrainedNetwork) -> None:
        """Append a batch's predictions."""
        with np.errstate(all="ignore"):
            outputs = network.outputs(batch.inputs)
            answered = answers(outputs, network)
        finite = np.isfinite(outputs).all(axis=1)
        targets = None if batch.targets is None else batch.targets.reshape(len(outputs), -1)
        if isinstance(answered, ClassAnswers):
            self.classes = class_names(network)
            self.prediction += _known(answered.classes, finite)
            self.probability += _known(answered.probabilities.max(axis=1), finite)
            if targets is not None and targets.dtype.kind not in "iu":  # probabilities of classes
                targets = None
        else:
            numbers = answered.numbers
            self.prediction += _known(numbers[:, 0] if numbers.shape[1] == 1 else numbers, finite)
            self.probability += [None] * len(outputs)
        if targets is not None and targets.shape[1] == 1:
            self.target += targets[:, 0].tolist()
        else:
            self.target += [None] * len(outputs)


def predict_stored(task: StoredRowsTask) -> StoredPredictions:
    """Predict the rows; those of weight 0 too.

    Raises:
        ProblemError: they do not fit the network, or the job's parameters are damaged.
    """
    found = of_dataset(task.data, TrainedNetwork.load(task.trained), with_targets=True)
    network, began = found.network, process_time()
    made = StoredPredictions(
        of=found.rows or 0,
        named=network.training.classes is not None,
        step=network.source.step,
        which=network.source.which,
    )
    for batch in _parts(found.batches):
        made.add(batch, network)
        if process_time() - began > SECONDS:
            break
    made.rows = list(map(int, found.numbers[: len(made.prediction)]))
    return made


def _parts(batches: Iterator[Batch]) -> Iterator[Batch]:
    for batch in batches:
        for start in range(0, len(batch.inputs), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            targets = None if batch.targets is None else batch.targets[part]
            yield Batch(batch.inputs[part], targets)


def _known(values: Any, finite: Any) -> list[Any]:
    return [
        value if known else None
        for value, known in zip(values.tolist(), finite.tolist(), strict=True)
    ]
