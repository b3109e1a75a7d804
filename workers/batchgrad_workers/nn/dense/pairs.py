"""Which products take two microbatches at once: those whose bits are as of one by one."""

from functools import lru_cache
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.nn.dense.passes import COLUMNS, INPUTS, OUTPUTS, TOGETHER
from batchgrad_workers.nn.dense.products import times, times_transposed, transposed_times

ROWS = 12
"""OpenBLAS's kernels for AVX2 take so many rows at once; those left over have other bits."""

PADDING = 1 / 20
"""So much of a microbatch its padding may be; 128 examples take 132 rows."""


def padded_rows(examples: int) -> int:
    """Rows of a microbatch in products: its examples, and others to a multiple of ROWS."""
    rows = -(-examples // ROWS) * ROWS
    return rows if rows - examples <= PADDING * examples else examples


@lru_cache(maxsize=16)
def stages_of_pairs(stages: bytes, examples: int, dtype: np.dtype[Any]) -> Integers | None:
    """The table `stages` with TOGETHER for two microbatches of so many examples.

    None if their gradients cannot be added up by the product. Products differ in bits or not
    whatever their numbers are, so random ones tell.
    """
    found = np.frombuffer(stages, np.int64).reshape(-1, COLUMNS).copy()
    rows, random = padded_rows(examples), np.random.default_rng(0)
    if rows % ROWS:
        return None
    for stage in found:
        shapes = (2, rows, stage[INPUTS]), (2, rows, stage[OUTPUTS]), stage[[OUTPUTS, INPUTS]]
        inputs, errors, weight = (random.standard_normal(shape, dtype) for shape in shapes)
        if not _adds(inputs[:, :examples], errors[:, :examples]):
            return None
        stage[TOGETHER] = _multiplies(inputs, errors, weight)
    return found


def _adds(inputs: Array, errors: Array) -> bool:
    """Whether a product that is added to another has the bits of both, added."""
    left, right, added = np.empty((3, errors.shape[-1], inputs.shape[-1]), inputs.dtype)
    transposed_times(errors[0], inputs[0], False, left)
    transposed_times(errors[1], inputs[1], False, right)
    added[:] = left
    transposed_times(errors[1], inputs[1], True, added)
    return bool((added == left + right).all())


def _multiplies(inputs: Array, errors: Array, weight: Array) -> bool:
    """Whether products of two microbatches with θ have the bits of one by one."""
    outputs, below = (
        np.empty((2, *errors.shape), errors.dtype),
        np.empty((2, *inputs.shape), inputs.dtype),
    )
    for k in range(len(inputs)):
        times_transposed(inputs[k], weight, outputs[0, k])
        times(errors[k], weight, below[0, k])
    times_transposed(_joined(inputs), weight, _joined(outputs[1]))
    times(_joined(errors), weight, _joined(below[1]))
    return bool((outputs[0] == outputs[1]).all() and (below[0] == below[1]).all())


def _joined(rows: Array) -> Array:
    return rows.reshape(-1, rows.shape[-1])
