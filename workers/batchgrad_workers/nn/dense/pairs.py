"""The products that take two microbatches at once: those whose bits are as of one by one."""

from functools import lru_cache
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.nn.dense.passes import COLUMNS, INPUTS, OUTPUTS, TOGETHER
from batchgrad_workers.nn.dense.products import times, times_transposed, transposed_times

ROWS = 12
"""OpenBLAS's kernels for AVX2 take so many rows at once; those left over have other bits."""

PADDING = 1 / 20
"""The largest padding, as a part of the microbatch; 128 examples get 4 more rows."""

COMPARED = 2000
"""So many random numbers of each product are compared, at least."""


def padding(examples: int) -> int:
    """How many rows to put behind those of a microbatch, to a multiple of ROWS; 0 if too many."""
    missing = -examples % ROWS
    return missing if missing <= PADDING * examples else 0


@lru_cache(maxsize=16)
def stages_of_pairs(stages: bytes, examples: int, dtype: np.dtype[Any]) -> Integers | None:
    """The table `stages` with TOGETHER for two microbatches of so many examples.

    None if their gradients cannot be added up by the product. In which order a product adds does
    not depend on its numbers, so random ones tell.
    """
    rows = examples + padding(examples)
    if rows % ROWS:
        return None
    found = np.frombuffer(stages, np.int64).reshape(-1, COLUMNS).copy()
    sizes = [(int(stage[INPUTS]), int(stage[OUTPUTS])) for stage in found]
    random = np.random.default_rng(0)
    for i, o in sizes:
        for _ in range(-(-COMPARED // (i * o))):
            inputs = random.standard_normal((2, examples, i), dtype)
            if not _adds(inputs, random.standard_normal((2, examples, o), dtype)):
                return None
    for stage, (i, o) in zip(found, sizes, strict=True):
        stage[TOGETHER] = all(
            _multiplies(
                random.standard_normal((2, rows, i), dtype),
                random.standard_normal((2, rows, o), dtype),
                random.standard_normal((o, i), dtype),
            )
            for _ in range(-(-COMPARED // (rows * min(i, o))))
        )
    return found


def _adds(inputs: Array, errors: Array) -> bool:
    """Whether a product that is added to another has the bits of both, added."""
    left, added = np.empty((2, errors.shape[-1], inputs.shape[-1]), inputs.dtype)
    transposed_times(errors[1], inputs[1], False, left)
    transposed_times(errors[0], inputs[0], False, added)
    left += added
    transposed_times(errors[1], inputs[1], True, added)
    return bool((left == added).all())


def _multiplies(inputs: Array, errors: Array, weight: Array) -> bool:
    """Whether products of two microbatches with θ have the bits of one by one."""
    outputs, below = np.empty_like(errors), np.empty_like(inputs)
    times_transposed(_joined(inputs), weight, _joined(outputs))
    times(_joined(errors), weight, _joined(below))
    for k in range(len(inputs)):
        own_outputs, own_below = np.empty_like(errors[k]), np.empty_like(inputs[k])
        times_transposed(inputs[k], weight, own_outputs)
        times(errors[k], weight, own_below)
        if (own_outputs != outputs[k]).any() or (own_below != below[k]).any():
            return False
    return True


def _joined(rows: Array) -> Array:
    """Rows (k r, width) of k microbatches, from (k, r, width)."""
    return rows.reshape(-1, rows.shape[-1])
