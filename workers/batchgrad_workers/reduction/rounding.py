"""Sums that are rounded to bfloat16: half of the bytes between nodes, in other bits.

Each node of the canonical tree is rounded when it is complete, also where nothing travels, so the
bits do not depend on where it was computed. Additions are in float32. A rounded number has 8
significant bits; the sums' other arrays keep all theirs.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from batchgrad.contract import SumsPrecision
from batchgrad_workers.arrays import Array
from batchgrad_workers.reduction.sums import GradientSums


class Reduction(NamedTuple):
    """How sums are kept: what becomes of a microbatch's, of two joined ones, and between nodes."""

    leaf: Callable[[GradientSums], GradientSums]
    join: Callable[[GradientSums, GradientSums], GradientSums]
    packed: Callable[[GradientSums], GradientSums]
    """Sums as they travel; `unpacked` reverses it without loss."""


def unpacked(sums: GradientSums) -> GradientSums:
    """Sums that have travelled, as float32 again; unpacked ones as they are."""
    return _with_gradients(sums, _unpacked)


def _rounded(sums: GradientSums) -> GradientSums:
    return unpacked(_packed(sums))


def _rounded_join(left: GradientSums, right: GradientSums) -> GradientSums:
    return _rounded(GradientSums.join(left, right))


def _packed(sums: GradientSums) -> GradientSums:
    return _with_gradients(sums, _bits)


def _with_gradients(sums: GradientSums, change: Callable[[Array], Array]) -> GradientSums:
    """The sums with their arrays (P,) changed."""
    return replace(
        sums,
        gradient=change(sums.gradient),
        microbatch_means=change(sums.microbatch_means),
    )


def _bits(array: Array) -> Any:
    """bfloat16 as uint16: of other types than its own, numpy gives Ray no memory to share."""
    from ml_dtypes import bfloat16  # noqa: PLC0415  # most jobs need none of it

    return array.astype(bfloat16).view(np.uint16)


def _unpacked(array: Any) -> Array:
    if array.dtype != np.uint16:
        return array
    return (array.astype(np.uint32) << 16).view(np.float32)


REDUCTIONS: dict[SumsPrecision, Reduction] = {
    "full": Reduction(lambda sums: sums, GradientSums.join, lambda sums: sums),
    "bfloat16": Reduction(_rounded, _rounded_join, _packed),
}
