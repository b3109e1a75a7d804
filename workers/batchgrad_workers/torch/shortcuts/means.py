"""Means of a minibatch from which the shortcuts of a module start, as sums in one flat vector.

After Σ w_n a_n and Σ w_n δ_n of the calls of a Trace come its `ends`: the error of the module's
outputs, unless they are the result of a call, and what the mean example consists of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from batchgrad.torch.tasks import Task
from batchgrad_workers.torch.formulas.base import weighted_sum
from batchgrad_workers.torch.tapping.calls import Trace

OUTPUTS, TARGETS, ARRAY = "outputs", "targets", "arrays."
MOST_NUMBERS = 2**24
"""Of all means of a module: above it there are none."""


@dataclass(frozen=True)
class Means:
    """Means over a minibatch, each in the shape of one example, without an axis of examples.

    `calls` has ā, if the call has one, and δ̄; it is in the order of the trace's calls.
    """

    calls: list[tuple[Tensor | None, Tensor | None]]
    ends: dict[str, Tensor]


class MeansLayout:
    """Where each mean of a Trace lies."""

    def __init__(self, trace: Trace) -> None:
        self._trace, self.size = trace, trace.means_size

    def means(self, flat: Tensor, weight: float) -> Means:
        """The means, from the sums (size,) over a minibatch and Σ w_n."""
        if flat.shape != (self.size,):
            raise ValueError(f"The sums have the shape {list(flat.shape)}, expected {[self.size]}.")
        mean, start = flat / weight, 0

        def take(shape: tuple[int, ...]) -> Tensor:
            nonlocal start
            start += prod(shape)
            return mean[start - prod(shape) : start].view(shape)

        calls: list[tuple[Tensor | None, Tensor | None]] = []
        for call in self._trace.calls:
            own = [
                None if shape is None else take(shape)
                for shape in (call.input_shape, call.output_shape)
            ]
            calls.append((own[0], own[1]))
        return Means(calls, {name: take(shape) for name, shape in self._trace.ends})


def end_sums(
    task: Task, arrays: Mapping[str, Tensor], outputs: Tensor, weights: Tensor | None
) -> dict[str, Tensor]:
    """Σ w_n of the floating point arrays and of the targets, for a task with `mean_losses`."""
    if task.mean_losses is None or task.targets is None:
        return {}
    found = {
        ARRAY + name: weighted_sum(array.to(outputs.dtype), weights)
        for name, array in arrays.items()
        if array.is_floating_point()
    }
    targets = task.targets(arrays)
    if targets.is_floating_point():
        return {**found, TARGETS: weighted_sum(targets.to(outputs.dtype), weights)}
    if outputs.dim() == targets.dim() + 1:
        found[TARGETS] = shares(targets, outputs, weights)
    return found


def shares(targets: Tensor, outputs: Tensor, weights: Tensor | None) -> Tensor:
    """Σ w_n of one-hot rows (…, C), of classes (n, …) for outputs (n, …, C); negative: no class."""
    n, count = len(targets), outputs.shape[-1]
    classes, own = targets.reshape(n, -1), outputs.new_ones(n) if weights is None else weights
    total = outputs.new_zeros(classes.shape[1], count)
    places = torch.arange(classes.shape[1], device=classes.device) * count + classes.clamp(min=0)
    each = own[:, None] * (classes >= 0)
    total.view(-1).index_add_(0, places.reshape(-1), each.reshape(-1).to(total.dtype))
    return total.view(*targets.shape[1:], count)
