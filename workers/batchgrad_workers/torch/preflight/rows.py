"""Batches in which one example is another, and batches of fewer examples."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from batchgrad_workers.randomness import derived
from batchgrad_workers.torch.replica import Batch

SCALES = (None, -30.0, 1e-3)
"""By what another example's floating point numbers are multiplied; None: they stay."""


def replaced(batch: Batch, row: int) -> Iterator[Batch]:
    """The batch with another example in place of `row`: two others, and numbers far from them."""
    n = len(batch)
    for shift, scale in enumerate(SCALES):
        source = (row + 1 + shift % (n - 1)) % n
        arrays = {}
        for name, array in batch.arrays.items():
            own = array[source]
            if scale is not None and array.is_floating_point():
                own = own * scale
            arrays[name] = _with(array, row, own)
        keys = batch.keys
        if keys is not None:
            keys = keys.copy()
            keys[row] = derived(keys[[row]], shift)[0]
        yield Batch(arrays, batch.weights, keys)


def _with(array: Tensor, row: int, own: Tensor) -> Tensor:
    found = array.clone()
    found[row] = own
    return found


def masked(batch: Batch) -> Batch | None:
    """The batch where masks (of 0 and 1) leave nothing out of row 0, and half out of row 1.

    None: no array looks like a mask.
    """
    masks = {name for name, array in batch.arrays.items() if array.ndim > 1 and _zeros_ones(array)}
    arrays = {name: array.clone() for name, array in batch.arrays.items()}
    for name in masks:
        arrays[name][:2] = 1
        arrays[name][1, arrays[name].shape[1] // 2 :] = 0
    return Batch(arrays, batch.weights, batch.keys) if masks else None


def _zeros_ones(array: Tensor) -> bool:
    return not array.is_floating_point() and bool(((array == 0) | (array == 1)).all())


def first(batch: Batch, n: int) -> Batch:
    """The first n examples, in memory of their own."""
    return taken(batch, list(range(n)))


def taken(batch: Batch, rows: list[int]) -> Batch:
    """Those rows."""
    return Batch(
        {name: array[rows].clone() for name, array in batch.arrays.items()},
        batch.weights[rows],
        None if batch.keys is None else batch.keys[np.array(rows)],
    )


def distinct(batch: Batch) -> int:
    """The number of different examples."""
    flat = [array.reshape(len(batch), -1).double() for array in batch.arrays.values()]
    return len(torch.cat(flat, 1).unique(dim=0))
