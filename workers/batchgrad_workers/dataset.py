"""A stored dataset: one directory, one .npy file per array, mapped into memory, never loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.gradients import Microbatch
from batchgrad_workers.losses import Loss, target_rows
from batchgrad_workers.network import Network

AnyArray = npt.NDArray[Any]

ONES = 1 << 13
"""Weights of 1 that are kept ready, for as many examples: one call less for most microbatches."""


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


@dataclass(frozen=True)
class Standardization:
    """Mean and deviation of each input number over the training rows, float64, input shape."""

    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]

    @classmethod
    def of(cls, inputs: AnyArray, rows: Integers, chunk: int = 4096) -> "Standardization":
        """Two passes over `inputs[rows]`, chunk by chunk; a constant's deviation becomes 1."""
        chunks = [rows[start : start + chunk] for start in range(0, len(rows), chunk)]
        total = np.zeros(inputs.shape[1:])
        squares = np.zeros(inputs.shape[1:])
        with np.errstate(over="ignore", invalid="ignore"):
            for ids in chunks:
                total += inputs[ids].sum(axis=0, dtype=np.float64)
            mean = total / len(rows)
            for ids in chunks:
                squares += np.square(inputs[ids] - mean).sum(axis=0)
        deviation = np.sqrt(squares / len(rows))
        # A constant column's deviation is not quite 0: its mean is rounded.
        constant = deviation <= len(rows) * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean, np.where(constant, 1.0, deviation))

    @property
    def is_finite(self) -> bool:
        """Whether the inputs' squares can be summed at all."""
        return bool(np.isfinite(self.mean).all() and np.isfinite(self.deviation).all())

    def apply(self, inputs: AnyArray, dtype: Any) -> Array:
        """(a - mean) / deviation: worked out in the inputs' own float type, given in `dtype`."""
        own = inputs.dtype if inputs.dtype.kind == "f" else np.dtype(np.float64)
        centred = inputs - self.mean.astype(own)
        centred /= self.deviation.astype(own)
        return centred.astype(dtype, copy=False)


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
        self._class_weights = class_weights
        self._ones = np.ones(ONES, dtype)

    def rows(self, ids: Integers) -> Microbatch:
        """The examples with these row numbers."""
        # take, unlike indexing, lets go of the GIL. Stored arrays are in C order: it copies others.
        inputs, targets = self._dataset.inputs.take(ids, 0), self._dataset.targets.take(ids, 0)
        if self._standardization is not None:
            inputs = self._standardization.apply(inputs, self._dtype)
        return Microbatch(
            np.ascontiguousarray(inputs, None if self._network.takes_ids else self._dtype),
            target_rows(self._loss, targets, self._network.outputs, self._dtype),
            self.weights(ids),
        )

    def weights(self, ids: Integers) -> Array:
        """w_n (n,): the example's own weight times its class's; not to be written to."""
        if self._dataset.weights is None and self._class_weights is None and len(ids) <= ONES:
            return self._ones[: len(ids)]
        weights = np.ones(len(ids), self._dtype)
        if self._dataset.weights is not None:
            weights *= self._dataset.weights.take(ids).astype(self._dtype)
        if self._class_weights is not None:
            classes = self._dataset.targets.take(ids)
            weights *= self._class_weights.astype(self._dtype).take(classes)
        return weights
