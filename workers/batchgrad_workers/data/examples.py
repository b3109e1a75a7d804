"""Rows of a dataset as batches for a model, with their weights."""

from abc import ABC, abstractmethod
from math import ldexp
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.example_weights import Weights
from batchgrad_workers.data.input_transform import InputTransform
from batchgrad_workers.nn.gradients import Microbatch
from batchgrad_workers.nn.losses import Loss, target_rows
from batchgrad_workers.nn.network import Network


class EvaluationSet(NamedTuple):
    """The examples that evaluations use: these rows of a dataset."""

    examples: "Examples"
    rows: Integers


class Examples(ABC):
    """Rows of a dataset as a model takes them, and their weights."""

    def __init__(self, dataset: StoredDataset, weights: Weights) -> None:
        self._dataset = dataset
        self._weights = weights

    def __len__(self) -> int:
        """Number of rows, those of weight 0 included."""
        return len(self._dataset)

    @property
    def class_names(self) -> list[str] | None:
        """The names of the dataset's classes; None if they have none."""
        return self._dataset.class_names

    @property
    def present(self) -> Integers | None:
        """Rows with a weight above 0, the others are no examples; None if that is all rows."""
        return self._weights.present

    def all_present(self) -> EvaluationSet:
        """All rows with a weight above 0, to evaluate on."""
        rows = np.arange(len(self)) if self.present is None else self.present
        return EvaluationSet(self, rows)

    def exponent(self, ids: Integers) -> int:
        """The `exponent` to pass to `rows` for each microbatch of this minibatch."""
        return self._weights.exponent(ids)

    @property
    def one_exponent(self) -> bool:
        """Whether all minibatches and microbatches have the same exponent."""
        return self._weights.one_exponent

    def weights(self, ids: Integers) -> Floats:
        """w_n (n,), float64: the example's own weight times its class's."""
        return self._weights.exact(ids)

    def scaled_weights(self, ids: Integers, exponent: int | None) -> tuple[Array, float]:
        """Weights (n,) in the model's dtype, and by which factor the minibatch's sums need them."""
        own = self._weights.exponent(ids)
        factor = 1.0 if exponent is None or own == exponent else ldexp(1.0, own - exponent)
        return self._weights.scaled(ids, own), factor

    def targets(self, ids: Integers, exponent: int) -> tuple[Floats, Floats]:
        """Targets (n, outputs) and weights (n,) of these rows, divided by 2^exponent; float64.

        Raises:
            TypeError: the targets are not numbers.
        """
        return self._target_numbers(ids), self._weights.scaled(ids, exponent).astype(np.float64)

    @abstractmethod
    def _target_numbers(self, ids: Integers) -> Floats:
        """Targets (n, outputs) of these rows, float64. Raises TypeError if they are no numbers."""

    @abstractmethod
    def rows(self, ids: Integers, exponent: int | None = None, padding: int = 0) -> Any:
        """The examples with these row numbers, part of a minibatch with this `exponent`.

        Of one microbatch (n,) or several (k, n). Behind the inputs of each follow `padding` others,
        as `Trainable.padding` asks.
        """


class NetworkExamples(Examples):
    """Rows as a network's inputs: transformed, weighted, in θ's dtype except ids."""

    def __init__(
        self,
        dataset: StoredDataset,
        *,
        network: Network,
        loss: Loss,
        dtype: Any,
        transform: InputTransform | None,
        class_weights: Array | None,
        label_smoothing: float = 0.0,
    ) -> None:
        """`class_weights` (classes,) multiply the examples' own weights."""
        super().__init__(dataset, Weights(dataset.weights, class_weights, dataset.targets, dtype))
        self._loss = loss
        self._label_smoothing = label_smoothing
        self.network = network
        self._dtype = np.dtype(dtype)
        self._transform = transform

    def rows(self, ids: Integers, exponent: int | None = None, padding: int = 0) -> Microbatch:
        """See `Examples.rows`."""
        with_padding = ids
        if padding:
            with_padding = np.concatenate([ids, ids[..., :padding]], axis=-1)
        ids = ids.reshape(-1)
        # Unlike indexing, take releases the GIL. It would copy arrays that are not in C order.
        inputs = self._dataset.inputs.take(with_padding.reshape(-1), 0)
        targets = self._dataset.targets.take(ids, 0)
        if self._transform is not None:
            inputs = self._transform.apply(inputs, self._dtype)
        return Microbatch(
            np.ascontiguousarray(inputs, None if self.network.takes_ids else self._dtype),
            self._target_rows(targets, self._dtype),
            *self.scaled_weights(ids, exponent),
        )

    def _target_numbers(self, ids: Integers) -> Floats:
        targets = self._dataset.targets.take(ids, 0)
        return self._target_rows(targets, np.dtype(np.float64)).astype(np.float64)

    def _target_rows(self, targets: npt.NDArray[Any], dtype: Any) -> Array:
        return target_rows(self._loss, targets, self.network.outputs, dtype, self._label_smoothing)
