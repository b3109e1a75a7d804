"""The shortcut averaged_error of an observed step, and its gap.

A backward pass gives Σ δ of the module's outputs over the examples, as autograd has it, and its
taps give ā of each call. A copy of the module runs one example with these; the user's is left
alone. Any factor of the loss is one of G and of the shortcut alike, and leaves the gap.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from batchgrad.torch.observing.gap import Gap
from batchgrad_workers.torch.formulas.base import Layout
from batchgrad_workers.torch.observing.agreement import gap
from batchgrad_workers.torch.observing.finding import random_numbers_kept
from batchgrad_workers.torch.observing.mode import Entry
from batchgrad_workers.torch.observing.one_example import Copy, Forward, NoGap, mean_error, receive
from batchgrad_workers.torch.observing.taps import Tap, Taps
from batchgrad_workers.torch.refusal import OtherCalls
from batchgrad_workers.torch.replica import Batch
from batchgrad_workers.torch.shortcuts.averaging import averaged
from batchgrad_workers.torch.shortcuts.gradients import collected, ends_in, passed_back
from batchgrad_workers.torch.shortcuts.means import Means
from batchgrad_workers.torch.tapping.calls import Call, Trace

Name = tuple[str, str]
MOST_NAMES = 5


@dataclass
class Part:
    """What one backward pass adds: Σ w of its n examples, Σ w a / Σ w by call, and δ of results."""

    weight: float
    inputs: dict[Name, Tensor]
    errors: dict[int, Tensor]
    n: int

    def error(self, place: int) -> Tensor:
        """Of the module's result at this place."""
        if place not in self.errors:
            raise NoGap("the step's backward passes came from different results of the module")
        return self.errors[place]


class Shortcut:
    """The shortcut of one step. A step of several backward passes has that of all of them."""

    def __init__(self, names: dict[int, str], weights: Tensor | None, *, summed: bool) -> None:
        """Of parameters with `names` by id, and the `weights` (n,) of all examples.

        `summed`: the loss is the sum of the examples' losses, not their mean.
        """
        self.names, self.weights, self.summed = names, weights, summed
        self.visit: ref[Any] | None = None
        """Whose hooks are on the module: they see nothing of a copy, and are not copied."""
        self.gap: Gap | None = None
        self.missing: str | None = "no backward pass came to results of the module"
        self._forwards: dict[int, Forward] = {}
        self._parts: dict[int, Part] = {}

    def left(
        self, key: int, module: nn.Module, entry: Entry, arguments: Any, result: Any, axis: int
    ) -> None:
        """A forward pass has returned; `key` is the id of its parameters' values."""
        leaves, spec = _pytree.tree_flatten(arguments)
        leaves = [each.detach() if isinstance(each, Tensor) else each for each in leaves]
        row = {str(k): leaves[k].narrow(axis, 0, 1).clone() for k in entry.places}
        others = [None if k in entry.places else each for k, each in enumerate(leaves)]
        own = self._forwards[key] = Forward(module, entry, row, others, spec)
        for place, leaf in enumerate(_pytree.tree_leaves(result)):
            if isinstance(leaf, Tensor) and leaf.grad_fn is not None:
                leaf.grad_fn.register_prehook(partial(receive, ref(own), place, leaf.output_nr))

    def forget(self) -> None:
        """The taps of earlier passes are let go."""
        self._forwards.clear()

    def measure(self, taps: Taps, number: int) -> None:
        """After a backward pass, of the group `number`: compare with what passes have added."""
        self.gap, self.missing = None, None
        try:
            self.gap = self._measured(taps, number)
        except (NoGap, OtherCalls) as reason:
            self.missing = str(reason)

    def _measured(self, taps: Taps, number: int) -> Gap:
        if taps.uncovered:
            names = ", ".join(sorted(self.names[key] for key in taps.uncovered)[:MOST_NAMES])
            raise NoGap(f"gradients of {names} have no mean input and mean error")
        group = taps.groups[number]
        keys = {id(tap.parameters) for tap in group.taps}
        forward = self._forwards.get(next(iter(keys)))
        if len(keys) != 1 or forward is None:
            raise NoGap("one backward pass reached several forward passes of parts of the module")
        start = sum(each.n for each in taps.groups[:number])
        weights = None if self.weights is None else self.weights[start : start + group.n]
        if weights is not None and len(weights) != group.n:
            raise NoGap("there is not one weight for each example")
        own = [tap for tap in taps.taps if id(tap.parameters) in keys]
        with random_numbers_kept(forward.module), _exact(forward.row):
            replica = Copy(forward, None if self.visit is None else self.visit())
            inputs = _mean_inputs(own, weights, group.n, replica.dtype)
            weight = float(group.n if weights is None else weights.sum())
            self._parts[number] = Part(weight, inputs, forward.errors, group.n)
            shortcut = self._shortcut(replica, forward)
        exact = {key: taps.before.added(key) for key in taps.before.keys}
        by_key = {key: shortcut[name] for key, name in forward.entry.named.items() if key in exact}
        if set(by_key) != set(exact):
            raise NoGap("the step's backward passes reached different parts of the module")
        named = self.names
        return gap(
            {named[key]: exact[key].to(each.dtype) for key, each in by_key.items()},
            {named[key]: each for key, each in by_key.items()},
        )

    def _shortcut(self, replica: Copy, forward: Forward) -> dict[str, Tensor]:
        """The shortcut by parameter, from all parts."""
        calls = tuple(forward.entry.calls.values())
        trace = Trace(calls, (), "")
        means = Means([(self._mean(call), None) for call in calls], {})
        row = Batch(forward.row, torch.ones(1))
        try:
            outputs, taps = averaged(replica, trace, means, row, only_lookups=False)
        except OtherCalls:
            raise
        except Exception as failure:
            raise NoGap(f"the module does not run on one example: {failure}") from failure
        layouts = [
            (Layout(tap.call.axis, tap.call.strided)) for tap in taps if ends_in(outputs, tap)
        ]
        errors = [
            mean_error(part.error(replica.place), outputs, part.n, layouts)
            for part in self._parts.values()
        ]
        error = torch.stack(errors).sum(0).to(outputs.dtype)
        return collected(replica, taps, passed_back(outputs, error, taps))

    def _mean(self, call: Call) -> Tensor | None:
        """ā of a call over the examples of all parts."""
        key, parts = (call.name, call.function), list(self._parts.values())
        own = [part.inputs[key] for part in parts if key in part.inputs]
        if not own:
            if call.parameters and call.needs_input:
                raise NoGap(
                    f"{call.function} of {call.name} has no mean input: it takes several tensors, "
                    "or a mean would be too many numbers"
                )
            return None
        if len(own) != len(parts):
            raise NoGap("the step's forward passes made different calls")
        shares = own[0].new_tensor([part.weight if self.summed else 1.0 for part in parts])
        shares = shares / shares.sum()
        return torch.tensordot(shares, torch.stack(own), 1) if len(own) > 1 else own[0]


def _mean_inputs(
    taps: list[Tap], weights: Tensor | None, n: int, dtype: torch.dtype
) -> dict[Name, Tensor]:
    """Σ w a / Σ w by call."""
    found: dict[Name, Tensor] = {}
    shares = torch.full((n,), 1 / n, dtype=torch.float64) if weights is None else weights
    shares = shares / shares.sum()
    for tap in taps:
        if any(each._version != version for each, version in tap.held):
            raise NoGap(f"the input of {tap.call.name} was changed in place after its call")
        if not tap.held:
            continue
        arguments = tap.arguments.widened(dtype)
        own = shares.to(tap.held[0][0].device, dtype)
        mean = tap.kind.mean_inputs(arguments, tap.layout, n, own)
        if mean is not None:
            found[tap.call.name, tap.call.function] = mean.to(dtype)
    return found


@contextmanager
def _exact(row: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside nothing is rounded to half precision."""
    device = next(iter(row.values())).device.type
    with torch.autocast(device, enabled=False):
        yield
