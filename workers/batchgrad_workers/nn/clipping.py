"""Sums of clipped per-example gradients of a network of layers."""

from collections.abc import Sequence

import numpy as np

from batchgrad_workers.nn.gradients import Differentiator, Microbatch, loss_and_error
from batchgrad_workers.nn.kernels.norms import norms
from batchgrad_workers.nn.layers import Parameters
from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows, totals
from batchgrad_workers.reduction.sums import GradientSums


def clipped_sums(
    differentiator: Differentiator,
    views: Sequence[Parameters],
    batch: Microbatch,
    rows: PrivateRows,
    rule: ClippingRule,
) -> GradientSums:
    """Σ c_u Σ_n w_n g_n over the units u of a microbatch: see `Trainable.clipped_sums`."""
    network = differentiator.network
    outputs = network.forward(network.drawing(views, batch.keys), batch.inputs)[-1]
    losses, _ = loss_and_error(differentiator.loss, outputs, batch.targets)
    gradient = np.zeros(network.size)
    units = []
    for slice_ in network.slices:
        each = differentiator.each(views, batch)[slice_.name].astype(np.float64)
        weighted = each.reshape(len(each), -1) * rows.weights[:, None]
        units.append(rows.unit_sums(weighted))
    layers = sorted({each.layer for each in network.slices})
    by_layer = [
        np.concatenate(
            [u for s, u in zip(network.slices, units, strict=True) if s.layer == layer], 1
        )
        for layer in layers
    ]
    lengths = np.stack([norms(each) for each in by_layer], 1)
    whole = norms(np.concatenate(by_layer, 1))
    factors = rule.factors(lengths if rule.clipping == "per_layer" else whole[:, None])
    for slice_, unit in zip(network.slices, units, strict=True):
        place = layers.index(slice_.layer) if rule.clipping == "per_layer" else 0
        own = factors[:, place]
        kept = np.where(own[:, None] > 0, unit, 0)
        gradient[slice_.start : slice_.start + slice_.size] = own @ kept
    none = np.empty(0, batch.inputs.dtype)
    dtype = batch.weights.dtype
    return GradientSums(
        gradient.astype(dtype),
        totals(rule, rows, losses, whole),
        none.astype(dtype),
        none.astype(dtype),
    )
