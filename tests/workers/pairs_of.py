"""A dense network, all bits of its sums, and what a CPU without pairs means for a test."""

from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from batchgrad.contract import Model
from batchgrad_workers.reduction.sums import GradientSums

AVX2 = {"Haswell", "Zen"}
"""The kernels of OpenBLAS for which two microbatches at once were made."""

RELU = {"kind": "relu"}
MODEL = Model.model_validate(
    {
        "layers": [
            {"kind": "linear", "out_features": 70},
            RELU,
            {"kind": "linear", "out_features": 33, "bias": False},
            {"kind": "linear", "out_features": 3},
        ]
    }
)


def need_pairs(found: bool) -> None:
    """Skip the test on CPUs whose products have other bits for pairs; with AVX2 that is a fault."""
    if not found:
        assert not AVX2 & {each.get("architecture") for each in threadpool_info()}
        pytest.skip("On this CPU's kernels products of pairs have other bits: one by one.")


def everything(sums: GradientSums, losses: Any, norms: Any) -> bytes:
    """All bits but those of a NaN: which operand's sign it has depends on the loop."""
    arrays = (sums.gradient, sums.totals, sums.microbatch_means, sums.means, losses, norms)
    return b"".join(np.where(np.isnan(array), np.nan, array).tobytes() for array in arrays)
