"""A copy of an observed module that runs one example, in the place of a forward pass."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from batchgrad.torch.tasks import Task
from batchgrad_workers.torch.formulas.base import Layout
from batchgrad_workers.torch.observing.mode import Entry
from batchgrad_workers.torch.replica import Replica


class NoGap(Exception):
    """Why a step has no gap."""


@dataclass(eq=False)
class Forward:
    """One forward pass of the module, or of a part: its arguments, and errors at its results."""

    module: nn.Module
    entry: Entry
    row: dict[str, Tensor]
    """The first example, by the places of the arguments' tensors."""
    others: list[Any]
    """The other arguments, in their places."""
    spec: Any
    errors: dict[int, Tensor] = field(default_factory=dict)
    """By the place among the results."""


class Copy(Replica):
    """A copy of the module as it is after the backward pass, for its result that had errors."""

    def __init__(self, forward: Forward, shared: Any) -> None:
        """Of the module; `shared`, which it refers to, is not copied."""
        task = Task(forward.module, self._result, _no_losses)
        held = [
            each
            for part in forward.module.modules()
            for each in vars(part).values()
            if isinstance(each, Tensor) and each.grad_fn is not None
        ]  # kept from the forward pass; torch does not copy them
        memo: dict[int, Any] = {id(each): each.detach().clone() for each in held}
        memo[id(shared)] = shared
        try:
            module = deepcopy(forward.module, memo)
        except Exception as error:
            raise NoGap(f"the module can't be copied: {error}") from error
        parameters = [each for each in module.parameters() if each.is_floating_point()]
        self.task, self.module, self.autocast, self.axes = task, module, None, None
        self.dtype, self.device = parameters[0].dtype, str(parameters[0].device)
        self.trainable = {
            name: each for name, each in module.named_parameters() if each.requires_grad
        }
        if len(forward.errors) != 1:
            raise NoGap(f"errors came to {len(forward.errors)} results of the module, not to one")
        self.place, self._forward = next(iter(forward.errors)), forward

    def _result(self, module: nn.Module, row: Mapping[str, Tensor]) -> Tensor:
        leaves = list(self._forward.others)
        for place, each in row.items():
            leaves[int(place)] = each
        args, kwargs = _pytree.tree_unflatten(leaves, self._forward.spec)
        found: Tensor = _pytree.tree_leaves(module(*args, **kwargs))[self.place]
        return found


def _no_losses(outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    del batch
    return outputs


def mean_error(error: Tensor, one: Tensor, n: int, layouts: list[Layout]) -> Tensor:
    """Σ δ of the module's result over its n examples, in the shape of that of `one` example."""
    if layouts:
        return layouts[0].first(error, n).sum(0).view(one.shape)
    if one.dim() < error.dim() and len(error) == n and error[0].numel() == one.numel():
        return error.sum(0).view(one.shape)  # squeezed: of one example an axis is lost
    if n == 1 and error.shape == one.shape:
        return error
    sizes = list(zip(error.shape, one.shape, strict=False))
    axes = [axis for axis, (many, single) in enumerate(sizes) if many != single]
    if error.dim() == one.dim() and len(axes) == 1 and sizes[axes[0]] == (n, 1):
        return error.sum(axes[0], keepdim=True)
    raise NoGap(
        f"a result of the module for {n} examples is {list(error.shape)}, and for one of them "
        f"{list(one.shape)}: one axis should be that of the examples"
    )


def receive(
    forward: "ref[Forward]", place: int, number: int, errors: tuple[Tensor | None, ...]
) -> None:
    """An error arrives at a result."""
    own, error = forward(), errors[number]
    if own is not None and error is not None and not torch.is_grad_enabled():
        known = own.errors.get(place)
        own.errors[place] = error if known is None else known + error
