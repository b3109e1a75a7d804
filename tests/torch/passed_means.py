"""Shortcuts of a replica from the means of one microbatch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from batchgrad.contract import ShortcutName
from batchgrad_workers.torch import together
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.shortcuts.gradients import Gradient, gradients
from batchgrad_workers.torch.shortcuts.means import Means, MeansLayout
from batchgrad_workers.torch.tapping.calls import Trace

NAMES: tuple[ShortcutName, ...] = ("averaged_error", "mean_example")
Found = dict[ShortcutName, tuple[Gradient, Gradient]]


def means_of(replica: Replica, batch: Batch, trace: Trace) -> Means:
    flat = together.sums(replica, batch, trace, means=True).means
    assert flat is not None
    assert flat.shape == (MeansLayout(trace).size,)
    return MeansLayout(trace).means(flat, float(batch.weights.sum()))


def shortcuts(
    replica: Replica, batch: Batch, trace: Trace, names: Sequence[ShortcutName] = NAMES
) -> Found:
    means = means_of(replica, batch, trace)
    return gradients(replica, trace, means, batch.row(0), names)


def close(found: Tensor, expected: Tensor) -> None:
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12 * scale)
