"""Gradients of a microbatch on the path that a preflight chose: together, or one by one."""

import torch
from torch import Tensor

from batchgrad_workers.torch import one_by_one, together
from batchgrad_workers.torch.preflight.report import Preflight
from batchgrad_workers.torch.refusal import OtherCalls
from batchgrad_workers.torch.replica import Batch, Replica, Sums


def sums(replica: Replica, batch: Batch, preflight: Preflight, *, means: bool = False) -> Sums:
    """The sums of a microbatch.

    One that makes other calls than the preflight's is computed one by one. It has no means of
    calls: they are NaN.
    """
    if preflight.trace is not None:
        try:
            return together.sums(replica, batch, preflight.trace, means=means)
        except OtherCalls:
            pass  # these rows make other calls; one by one they are right, too
    found = one_by_one.sums(replica, batch)
    if means:
        found.means = torch.full((means_size(preflight),), torch.nan, dtype=replica.dtype)
    return found


def each(replica: Replica, batch: Batch, preflight: Preflight) -> dict[str, Tensor]:
    """g_n of every example by parameter, (n, *shape). N x P numbers: for few examples."""
    if preflight.trace is not None:
        try:
            return together.each(replica, batch, preflight.trace)
        except OtherCalls:
            pass
    return one_by_one.each(replica, batch)


def means_size(preflight: Preflight) -> int:
    """Length of `Sums.means`; 0 if sums are computed one by one."""
    return preflight.trace.means_size if preflight.trace else 0
