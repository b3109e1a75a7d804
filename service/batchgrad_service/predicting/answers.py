"""Classes and probabilities, or numbers, from a network's outputs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_service.predicting.trained_network import TrainedNetwork
from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.nn.special import expit, softmax


@dataclass(frozen=True)
class ClassAnswers:
    """Classes (n,) and probabilities (n, classes) of n examples."""

    classes: Integers
    probabilities: Floats

    def predictions(self, names: list[str] | None) -> npt.NDArray[Any]:
        """The classes (n,) by their `names`, or by their numbers."""
        return self.classes if names is None else np.array(names, object)[self.classes]


@dataclass(frozen=True)
class NumberAnswers:
    """Numbers (n, outputs) of n examples; of a sigmoid they are probabilities."""

    numbers: Floats

    def predictions(self, _names: list[str] | None) -> npt.NDArray[Any]:
        """The numbers, (n,) if there is one output."""
        return self.numbers[:, 0] if self.numbers.shape[1] == 1 else self.numbers


Answers = ClassAnswers | NumberAnswers


def answers(outputs: Array, network: TrainedNetwork) -> Answers:
    """Interpret outputs (n, outputs) by the job's loss.

    Of a softmax the class with the largest output; a single sigmoid output decides between two
    classes if the targets were classes.
    """
    values = outputs.astype(np.float64)
    if network.loss.link == "softmax":
        return ClassAnswers(values.argmax(axis=1), softmax(values, axis=1))
    if network.loss.link == "sigmoid":
        probabilities = expit(values)
        names = network.training.classes
        if probabilities.shape[1] == 1 and names is not None and len(names) == 2:
            both = np.hstack([1 - probabilities, probabilities])
            return ClassAnswers((values[:, 0] > 0).astype(np.int64), both)
        return NumberAnswers(probabilities)
    return NumberAnswers(values)


def class_names(network: TrainedNetwork) -> list[str]:
    """The names of the outputs' classes: those of the dataset, else their numbers."""
    outputs = max(network.network.outputs, 2)  # a sigmoid has one output for two
    known = network.training.classes or []
    return [*known, *(str(number) for number in range(len(known), outputs))]


def number_names(network: TrainedNetwork) -> list[str]:
    """The columns of numbers: `prediction`, or one for each target."""
    outputs = network.network.outputs
    if outputs == 1:
        return ["prediction"]
    table = network.table
    targets = [column.name for column in table.targets] if table else []
    known = targets if len(targets) == outputs else [str(number) for number in range(outputs)]
    return [f"prediction_{name}" for name in known]
