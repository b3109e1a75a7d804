"""A forward pass of one example in which calls take mean inputs in place of their own."""

from typing import Any

import torch
from torch import Tensor

from batchgrad_workers.torch.formulas.base import Arguments, Kind
from batchgrad_workers.torch.formulas.embedding import Embedding
from batchgrad_workers.torch.refusal import OtherCalls
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.shortcuts.means import ARRAY, Means
from batchgrad_workers.torch.tapping.calls import Call, Trace
from batchgrad_workers.torch.tapping.mode import Tap, Tapping


class Averaging(Tapping):
    """Tapping with the mean input of each call, or only with those of lookups."""

    def __init__(self, replica: Replica, trace: Trace, means: Means, *, only_lookups: bool) -> None:
        super().__init__(replica, trace.calls)
        self._means = means
        self._only_lookups = only_lookups

    def tap(self, call: Call, kind: Kind, arguments: Arguments) -> Tensor:
        """The call on its mean input; errors go on to what the input was made of."""
        mean = self._means.calls[self.place - 1][0]
        if mean is not None and (call.kind == Embedding.name or not self._only_lookups):
            arguments.touched = tuple(call.parameters)
            own = kind.inputs(arguments)
            if own is None:
                raise OtherCalls(f"{call.name} has no input, and in the trace it had one.")
            kind = kind.of_means()
            if call.kind == Embedding.name:
                taken = mean
            else:
                taken = _Instead.apply(own, mean.view(own.shape))
            arguments = kind.with_inputs(arguments, taken)
        return super().tap(call, kind, arguments)


class _Instead(torch.autograd.Function):  # type: ignore[misc]  # torch is not there for mypy
    """Other numbers in the place of a tensor, with errors passed on to it."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, other: Tensor) -> Tensor:
        """The others."""
        del ctx, own
        return other.clone()

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> tuple[Tensor, None]:
        """The error, for the first."""
        del ctx
        return errors[0], None


def averaged(
    replica: Replica, trace: Trace, means: Means, row: Batch, *, only_lookups: bool
) -> tuple[Tensor, list[Tap]]:
    """The outputs (1, …) of one example, `row`, whose calls take mean inputs, and their taps.

    Raises:
        OtherCalls: One example makes other calls than the trace has.
    """
    mode = Averaging(replica, trace, means, only_lookups=only_lookups)
    with torch.enable_grad(), mode:
        outputs = replica.outputs(Batch(row.arrays, row.weights))
    if mode.place != len(trace.calls):
        raise OtherCalls(f"One example makes {mode.place} calls, {len(trace.calls)} in the trace.")
    return outputs, mode.taps


def mean_row(means: Means, row: Batch) -> Batch:
    """The mean example: means of floating point arrays, others as in `row`."""
    arrays = {
        name: means.ends[ARRAY + name][None].to(array.dtype)
        if ARRAY + name in means.ends
        else array
        for name, array in row.arrays.items()
    }
    return Batch(arrays, row.weights)
