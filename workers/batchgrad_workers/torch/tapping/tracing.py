"""The trace of a module: which calls touch parameters, and where in them the examples lie."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchgrad_workers.torch.formulas.base import Layout
from batchgrad_workers.torch.formulas.registry import kinds_of
from batchgrad_workers.torch.refusal import OtherCalls
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.tapping.calls import MADE, OTHER, Call
from batchgrad_workers.torch.tapping.mode import (
    Function,
    Shapes,
    Tap,
    Tapping,
    called,
    name_of_use,
    seen_through,
    tensors,
)

Sizes = list[tuple[str, list[torch.Size]]]
PERTURBATION = 0.01
"""Of θ while it traces: errors that are 0 only at this θ would hide where the examples lie."""

TELLING = 3
"""Examples with errors: those of two may lie as in another layout by chance."""


class Tracing(Tapping):
    """Decide how to treat each call, from the shapes at n and n + 1 examples."""

    def __init__(self, replica: Replica, first: Sizes, second: Sizes) -> None:
        super().__init__(replica, ())
        self.first, self.second, self.seen = first, second, 0
        self.decided: list[Call] = []
        self.tapped: dict[int, tuple[Tap, list[int]]] = {}
        """By the number of the call: its tap, and the axes of its result that grow with n."""
        self.uses: dict[str, int] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called by torch in place of `function`."""
        kwargs = kwargs or {}
        parts = seen_through(function, args, kwargs)
        if parts is not None:
            with self:
                return parts()
        name = called(function)
        if name is None:
            return function(*args, **kwargs)
        self.seen += 1
        if torch.is_grad_enabled() and any(id(x) in self.values for x in tensors(args, kwargs)):
            return self.decide(name, function, args, kwargs)
        return function(*args, **kwargs)

    def decide(
        self, name: str, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run a call that touches parameters in the best way there is, and note which."""
        first, second = self.first[self.seen - 1][1], self.second[self.seen - 1][1]
        touched = {id(x): self.values[id(x)] for x in tensors(args, kwargs) if id(x) in self.values}
        names = [name for value in touched.values() for name in value.names]
        if first == second:
            self.decided.append(Call(name_of_use(names[0], self.uses), name, MADE, {}))
            return self.made(function, args, kwargs)
        for kind in kinds_of(function):
            arguments = kind.arguments(function, args, kwargs)
            if arguments is None or len(first) != 1 or id(arguments.inputs) in touched:
                continue
            roles = {
                role: touched[id(each)].names
                for role, each in arguments.parameters.items()
                if id(each) in touched
            }
            if {id(arguments.parameters[role]) for role in roles} != set(touched):
                continue
            call = Call(name_of_use(names[0], self.uses), name, kind.name, roles)
            result = self.tap(call, kind, arguments)
            last = result.dim() - kind.kept(arguments, result)
            sizes = list(zip(first[0], second[0], strict=True))[:last]
            axes = [axis for axis, (one, other) in enumerate(sizes) if one != other]
            self.tapped[len(self.decided)] = self.taps[-1], axes
            self.decided.append(call)
            return result
        self.decided.append(Call(name_of_use(names[0], self.uses), name, OTHER, {}))
        return function(*args, **kwargs)


def calls_of(replica: Replica, batch: Batch) -> tuple[tuple[Call, ...], tuple[str, ...]]:
    """The calls of a forward pass that touch parameters, and the parameters they do not cover.

    From a batch of two examples or more.

    Raises:
        OtherCalls: Another number of examples makes other calls.
    """
    n = len(batch)
    if n < 2:
        raise ValueError(f"A trace needs two examples or more, got {n}.")
    first, second = _sizes(replica, batch), _sizes(replica, _longer(batch))
    if [name for name, _ in first] != [name for name, _ in second]:
        raise OtherCalls(f"{n} examples make {len(first)} torch calls, {n + 1} make {len(second)}.")
    mode = Tracing(replica, first, second)
    with mode:
        losses = replica.losses(batch)
    edges = [tap.edge for tap, _ in mode.tapped.values()]
    ambiguous = any(len(_layouts(tap, axes, n)) > 1 for tap, axes in mode.tapped.values())
    looked = range(n) if ambiguous else (0, n - 1)
    alone = [_errors(losses[i], edges) for i in looked]
    parameters = list(replica.trainable.values())
    reached = _errors(losses.sum(), parameters)
    uncovered = {
        name for name, own in zip(replica.trainable, reached, strict=True) if own is not None
    }
    layouts: dict[int, Layout] = {}
    for number, (place, (tap, axes)) in enumerate(mode.tapped.items()):
        errors = [(i, own[number]) for i, own in zip(looked, alone, strict=True)]
        layout = _layout(tap, axes, errors, n)
        if layout is None:
            uncovered |= {name for names in tap.call.parameters.values() for name in names}
        else:
            layouts[place] = layout
    calls = list(mode.decided)
    for place, (tap, _) in mode.tapped.items():
        calls[place] = _call(tap, layouts.get(place), uncovered, n)
    return tuple(calls), tuple(name for name in replica.trainable if name in uncovered)


def _call(tap: Tap, layout: Layout | None, uncovered: set[str], n: int) -> Call:
    """The call with what it covers, where its examples lie, and its shapes for one example."""
    parameters = {
        role: tuple(name for name in names if name not in uncovered)
        for role, names in tap.call.parameters.items()
    }
    parameters = {role: names for role, names in parameters.items() if names}
    if not parameters or layout is None:
        return replace(tap.call, kind=OTHER, parameters={})
    with torch.no_grad():
        mean = tap.kind.mean_inputs(tap.arguments, layout, n, None)
        result = torch.empty(tap.shape)
        return replace(
            tap.call,
            parameters=parameters,
            axis=layout.axis,
            strided=layout.strided,
            input_shape=None if mean is None else tuple(mean.shape),
            output_shape=tuple(layout.first(result, n).shape[1:]),
            needs_input=bool(tap.kind.held(tap.arguments)),
        )


def _layout(
    tap: Tap, axes: list[int], errors: Sequence[tuple[int, Tensor | None]], n: int
) -> Layout | None:
    """The first layout by which an example's loss has errors in its own places alone.

    None where several are possible and too few examples have errors to tell them apart.
    """
    layouts = _layouts(tap, axes, n)
    used = [own for _, own in errors if own is not None]
    if len(layouts) > 1 and used and sum(bool(own.any()) for own in used) < min(TELLING, n):
        return None
    for layout in layouts:
        if all(own is None or _alone(layout.first(own, n), i) for i, own in errors):
            return layout
    return None


def _layouts(tap: Tap, axes: list[int], n: int) -> list[Layout]:
    """The layouts that the result's shape allows."""
    return [
        Layout(axis, strided)
        for axis in axes
        for strided in (False, True)
        if not (tap.shape[axis] % n or (strided and tap.shape[axis] == n))
    ]


def _alone(rows: Tensor, i: int) -> bool:
    return not bool(rows[:i].any()) and not bool(rows[i + 1 :].any())


def _errors(loss: Tensor, inputs: Sequence[Any]) -> Sequence[Tensor | None]:
    if not inputs or not loss.requires_grad:
        return [None] * len(inputs)
    return torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)


def _sizes(replica: Replica, batch: Batch) -> Sizes:
    mode = Shapes()
    with mode:
        replica.losses(batch)
    return mode.found


def _longer(batch: Batch) -> Batch:
    """The batch, and its first example once more."""
    places = torch.tensor([*range(len(batch)), 0])
    return Batch(
        {name: array[places] for name, array in batch.arrays.items()},
        batch.weights[places],
        None if batch.keys is None else batch.keys[np.asarray(places)],
    )


@contextmanager
def perturbed(replica: Replica) -> Iterator[None]:
    """Near θ: the same numbers at every call."""
    loaded = {name: each.data for name, each in replica.trainable.items()}
    random = torch.Generator().manual_seed(1)
    try:
        for name, parameter in replica.trainable.items():
            own = loaded[name]
            noise = torch.rand(own.shape, dtype=own.dtype, generator=random) * 2 - 1
            parameter.data = own + PERTURBATION * noise.to(own.device) * (1 + own.abs())
        yield
    finally:
        for name, parameter in replica.trainable.items():
            parameter.data = loaded[name]
