"""Rows of a dataset of named arrays as batches for a PyTorch module, with their weights."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from batchgrad.contract import Precision
from batchgrad.torch.tasks import Task
from batchgrad_workers.arrays import Array, Floats, Integers, Keys
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.example_weights import Weights
from batchgrad_workers.data.examples import Examples
from batchgrad_workers.module_config import BadModule
from batchgrad_workers.torch.replica import Batch

_CHUNK = 4096
"""Rows whose weights are asked of the task at a time."""


class ModuleRows(NamedTuple):
    """Arrays (n, …) of a dataset's rows by name, and their weights (n,) in θ's dtype.

    The minibatch's sums use `factor` times these weights. Dropout draws by `keys` (n,); None: it
    drops nothing.
    """

    arrays: dict[str, npt.NDArray[Any]]
    weights: Array
    factor: float = 1.0
    keys: Keys | None = None


class ModuleExamples(Examples):
    """Rows as a module takes them: floating point numbers in θ's dtype, integers in int64."""

    def __init__(self, dataset: StoredDataset, task: Task, precision: Precision) -> None:
        """The weights of `task` multiply the dataset's own."""
        self._dtype = np.dtype(precision)
        self._task = task
        super().__init__(dataset, Weights(_weights(dataset, task), None, None, precision))

    def rows(self, ids: Integers, exponent: int | None = None) -> ModuleRows:
        """The examples with these row numbers, part of a minibatch with this `exponent`."""
        arrays = taken(self._dataset, ids, self._dtype)
        return ModuleRows(arrays, *self.scaled_weights(ids, exponent))

    def _target_numbers(self, ids: Integers) -> Floats:
        rows = taken(self._dataset, ids, np.dtype(np.float64))
        found = None if self._task.targets is None else self._task.targets(tensors(rows))
        if found is None or not found.is_floating_point():
            raise TypeError("The task's targets are not numbers.")
        return found.double().flatten(1).numpy() if found.dim() > 1 else found[:, None].numpy()


def taken(
    dataset: StoredDataset, ids: Integers, dtype: np.dtype[Any]
) -> dict[str, npt.NDArray[Any]]:
    """The rows `ids` of each array that a model may see.

    Floating point numbers are in `dtype`, integers in int64, as torch wants indices.
    """
    found = {name: array.take(ids, 0) for name, array in dataset.arrays.items()}
    types = {"f": dtype, "i": np.dtype(np.int64), "u": np.dtype(np.int64)}
    return {
        name: array.astype(types.get(array.dtype.kind, array.dtype), copy=False)
        for name, array in found.items()
    }


def tensors(arrays: dict[str, npt.NDArray[Any]], device: str = "cpu") -> dict[str, Tensor]:
    """Copies as tensors, in memory that torch has aligned: bits may depend on where it lies."""
    return {name: torch.tensor(array, device=device) for name, array in arrays.items()}


def as_batch(rows: ModuleRows, device: str = "cpu") -> Batch:
    """The rows as tensors."""
    weights = torch.tensor(rows.weights, device=device)
    return Batch(tensors(rows.arrays, device), weights, rows.keys)


def _weights(dataset: StoredDataset, task: Task) -> npt.NDArray[Any] | None:
    """w_n (n,) of all rows, the task's times the dataset's; None if all are 1."""
    if task.weights is None:
        return dataset.weights
    found = np.empty(len(dataset))
    for start in range(0, len(dataset), _CHUNK):
        ids = np.arange(start, min(start + _CHUNK, len(dataset)))
        with torch.no_grad():
            weights = task.weights(tensors(taken(dataset, ids, np.dtype(np.float64))))
        if tuple(weights.shape) != (len(ids),):
            raise BadModule(
                f"the task's weights have shape {tuple(weights.shape)} for {len(ids)} examples; "
                f"expected ({len(ids)},): give one weight for each example."
            )
        found[ids] = weights.numpy()
    wrong = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if len(wrong):
        raise BadModule(
            f"the task's weight of example {wrong[0]} is {found[wrong[0]]}; expected a finite "
            "number of at least 0."
        )
    return found if dataset.weights is None else found * dataset.weights
