"""Rows of a dataset of named arrays as batches for a PyTorch module, with their weights."""

from collections.abc import Callable
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

    def __init__(
        self, dataset: StoredDataset, task: Task, precision: Precision, *, private: bool = False
    ) -> None:
        """The weights of `task` multiply the dataset's own.

        Those of `private` rows are checked to depend on their own rows alone, and errors do not
        name them.
        """
        self._dtype = np.dtype(precision)
        self._task = task
        own = _weights(dataset, task, private=private)
        super().__init__(dataset, Weights(own, None, None, precision))

    def rows(self, ids: Integers, exponent: int | None = None, padding: int = 0) -> ModuleRows:
        """The examples with these row numbers, part of a minibatch with this `exponent`."""
        if padding:
            raise ValueError("a module's microbatches have no padding")
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


def _weights(dataset: StoredDataset, task: Task, *, private: bool) -> npt.NDArray[Any] | None:
    """w_n (n,) of all rows, the task's times the dataset's; None if all are 1."""
    if task.weights is None:
        return dataset.weights
    found = _of_task(dataset, task.weights, np.arange(len(dataset)))
    if private:
        other = _of_task(dataset, task.weights, np.arange(len(dataset))[::-1], chunk=_CHUNK // 3)
        if not np.allclose(found, other[::-1], rtol=1e-9, atol=0, equal_nan=True):
            raise BadModule(
                "the task's weights of some examples are others among other examples; expected "
                "that each follows from its own row, as privacy needs: do not divide by a sum over "
                "the batch."
            )
    wrong = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if len(wrong):
        which = "an example" if private else f"example {wrong[0]}"
        value = "another number" if private else f"{found[wrong[0]]}"
        raise BadModule(
            f"the task's weight of {which} is {value}; expected a finite number of at least 0."
        )
    return found if dataset.weights is None else found * dataset.weights


def _of_task(
    dataset: StoredDataset, weights: Callable[[Any], Tensor], rows: Integers, chunk: int = _CHUNK
) -> Floats:
    """The task's weights (n,) of these rows."""
    found = np.empty(len(rows))
    for start in range(0, len(rows), chunk):
        ids = rows[start : start + chunk]
        with torch.no_grad():
            own = weights(tensors(taken(dataset, ids, np.dtype(np.float64))))
        if tuple(own.shape) != (len(ids),):
            raise BadModule(
                f"the task's weights have shape {tuple(own.shape)} for {len(ids)} examples; "
                f"expected ({len(ids)},): give one weight for each example."
            )
        found[start : start + chunk] = own.numpy()
    return found
