"""A stored dataset, mapped into memory, and its rows as a network sees them."""

from dataclasses import dataclass
from math import ldexp
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.data.example_weights import Weights
from batchgrad_workers.data.standardization import Standardization
from batchgrad_workers.nn.gradients import Microbatch
from batchgrad_workers.nn.losses import Loss, target_rows
from batchgrad_workers.nn.network import Network

AnyArray = npt.NDArray[Any]


@dataclass(frozen=True)
class StoredDataset:
    """inputs (n, …), targets (n,) or (n, out), weights (n,) or None."""

    inputs: AnyArray
    targets: AnyArray
    weights: AnyArray | None

    @classmethod
    def open(cls, directory: Path) -> "StoredDataset":
        """Map the arrays in `directory`: inputs.npy, targets.npy and, if there, weights.npy."""
        weights = directory / "weights.npy"
        return cls(
            _mapped(directory / "inputs.npy"),
            _mapped(directory / "targets.npy"),
            _mapped(weights) if weights.exists() else None,
        )


def _mapped(file: Path) -> AnyArray:
    """The array in a .npy file, read when it is touched; plain, because a memmap indexes slowly."""
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))


class Examples:
    """Rows of a dataset as a network sees them: scaled, in θ's dtype (ids stay), with weights."""

    def __init__(
        self,
        dataset: StoredDataset,
        *,
        network: Network,
        loss: Loss,
        dtype: Any,
        standardization: Standardization | None,
        class_weights: Array | None,
    ) -> None:
        """`class_weights` (classes,) multiply the examples' own weights."""
        self._dataset = dataset
        self._loss = loss
        self._network = network
        self._dtype = np.dtype(dtype)
        self._standardization = standardization
        self._weights = Weights(dataset.weights, class_weights, dataset.targets, dtype)

    @property
    def present(self) -> Integers | None:
        """The rows that are examples at all, those of a weight above 0; None where all are."""
        return self._weights.present

    def exponent(self, ids: Integers) -> int:
        """What `rows` takes for each microbatch of a minibatch of these examples."""
        return self._weights.exponent(ids)

    def rows(self, ids: Integers, exponent: int | None = None) -> Microbatch:
        """The examples with these row numbers, part of a minibatch with that `exponent`."""
        # take, unlike indexing, lets go of the GIL. Stored arrays are in C order: it copies others.
        inputs, targets = self._dataset.inputs.take(ids, 0), self._dataset.targets.take(ids, 0)
        if self._standardization is not None:
            inputs = self._standardization.apply(inputs, self._dtype)
        own = self._weights.exponent(ids)
        return Microbatch(
            np.ascontiguousarray(inputs, None if self._network.takes_ids else self._dtype),
            target_rows(self._loss, targets, self._network.outputs, self._dtype),
            self._weights.scaled(ids, own),
            1.0 if exponent is None or own == exponent else ldexp(1.0, own - exponent),
        )

    def weights(self, ids: Integers) -> Floats:
        """w_n (n,), float64: the example's own weight times its class's."""
        return self._weights.exact(ids)
