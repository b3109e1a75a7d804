"""The backward pass of a tapped forward pass: the error at the result of each cut call."""

from collections.abc import Sequence

import torch
from torch import Tensor

from batchgrad_workers.torch.refusal import OtherCalls
from batchgrad_workers.torch.replica import Replica
from batchgrad_workers.torch.tapping.mode import Tap


def backward(
    losses: Tensor,
    taps: list[Tap],
    replica: Replica,
    uncovered: tuple[str, ...],
    ends: list[Tensor],
) -> tuple[Sequence[Tensor | None], Sequence[Tensor | None]]:
    """δ of each tap, and at each of the `ends`; None: the loss does not depend on it.

    Raises:
        OtherCalls: A parameter that is not `uncovered` has a use besides the taps.
    """
    if not losses.requires_grad:
        return [None] * len(taps), [None] * len(ends)
    covered = [each for name, each in replica.trainable.items() if name not in uncovered]
    inputs = [tap.edge for tap in taps] + ends + covered
    if not inputs:
        return [], []
    found = torch.autograd.grad(losses.sum(), inputs, allow_unused=True)
    names = [name for name in replica.trainable if name not in uncovered]
    tapped, later = found[: len(taps)], found[len(taps) :]
    for name, own in zip(names, later[len(ends) :], strict=True):
        if own is not None:
            raise OtherCalls(f"{name} has a use that it had not in the trace.")
    return tapped, later[: len(ends)]
