"""Clipped sums by their definition: a loop in float64 over one example at a time."""

import numpy as np
import torch

from batchgrad_workers.arrays import Floats
from batchgrad_workers.parameters import ParameterLayout
from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows
from batchgrad_workers.torch import one_by_one
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.trainable import layout_of


def gradients(replica: Replica, batch: Batch) -> Floats:
    """g_n (n, P) by plain autograd."""
    found = one_by_one.each(replica, batch)
    rows = [found[each.name].reshape(len(batch), each.size) for each in layout_of(replica).slices]
    return torch.cat(rows, 1).double().numpy()


def by_definition(
    layout: ParameterLayout, each: Floats, rows: PrivateRows, rule: ClippingRule
) -> tuple[Floats, int]:
    """Σ of the clipped units (P,) from g_n (n, P), and the number of units within C."""
    slices = layout.slices
    layers = sorted({slice_.layer for slice_ in slices})
    total, unclipped = np.zeros(each.shape[1]), 0
    starts = range(len(each)) if rows.starts is None else rows.starts.tolist()
    for start, stop in zip(starts, [*starts[1:], len(each)], strict=True):
        unit = sum(rows.weights[n] * each[n] for n in range(start, stop))
        length = float(np.linalg.norm(unit))
        unclipped += length <= rule.clip_norm
        for layer in layers:
            own = np.concatenate(
                [
                    np.arange(slice_.start, slice_.start + slice_.size)
                    for slice_ in slices
                    if slice_.layer == layer
                ]
            )
            limit, norm = rule.clip_norm, length
            if rule.clipping == "per_layer":
                limit, norm = limit / len(layers) ** 0.5, float(np.linalg.norm(unit[own]))
            cut = limit / (norm + 0.01) if rule.clipping == "automatic" else 1.0
            if rule.clipping != "automatic" and norm > limit:
                cut = limit / norm
            total[own] += cut * unit[own]
    return total, unclipped
