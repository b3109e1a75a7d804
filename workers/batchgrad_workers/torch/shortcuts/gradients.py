"""Gradients of the shortcuts averaged_error and mean_example, of a module of any graph.

One made-up example runs in which each call that touches parameters takes its exact mean input ā.
averaged_error passes the mean error of the outputs back through it, so that a call's δ is what
averaging leaves of its mean error δ̄; mean_example is the gradient of the mean input and target.

    F = Σ vjp(ā, δ̄) over the calls of a parameter, s = Σ vjp(ā, δ), or vjp(a, δ) of the mean example
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from batchgrad.contract import ShortcutName
from batchgrad_workers.torch.formulas.base import Layout
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.shortcuts.averaging import averaged, mean_row
from batchgrad_workers.torch.shortcuts.means import OUTPUTS, TARGETS, Means
from batchgrad_workers.torch.tapping.calls import Trace
from batchgrad_workers.torch.tapping.mode import Tap
from batchgrad_workers.torch.tapping.values import pulled

Gradient = dict[str, Tensor]
Errors = Sequence[Tensor | None]


def gradients(
    replica: Replica, trace: Trace, means: Means, row: Batch, names: Sequence[ShortcutName]
) -> dict[ShortcutName, tuple[Gradient, Gradient]]:
    """F and s of the shortcuts in `names`, by parameter, at the replica's parameters.

    `row` is any example: what no mean stands for, as a mask, is taken from it.

    Raises:
        OtherCalls: One example makes other calls than the trace has.
        ValueError: A name is not of a shortcut that passes means through the module.
    """
    unknown = sorted(set(names) - {"averaged_error", "mean_example"})
    if unknown:
        raise ValueError(f"{unknown[0]} passes no means through a module.")
    found: dict[ShortcutName, Gradient] = {}
    frozen, own = of_means(
        replica, trace, means, row, with_averaged_error="averaged_error" in names
    )
    if own is not None:
        found["averaged_error"] = own
    if "mean_example" in names:
        found["mean_example"] = of_mean_example(replica, trace, means, row)
    return {name: (frozen, found[name]) for name in names}


def of_means(
    replica: Replica, trace: Trace, means: Means, row: Batch, *, with_averaged_error: bool
) -> tuple[Gradient, Gradient | None]:
    """F, and s of averaged_error if it is wanted; as `gradients`."""
    outputs, taps = averaged(replica, trace, means, row, only_lookups=False)
    own = [pair for call, pair in zip(trace.calls, means.calls, strict=True) if call.parameters]
    exact = [error for _, error in own]
    frozen = collected(replica, taps, exact)
    if not with_averaged_error:
        return frozen, None
    errors = passed_back(outputs, _mean_error(outputs, taps, exact, means), taps)
    return frozen, collected(replica, taps, errors)


def _mean_error(outputs: Tensor, taps: list[Tap], exact: Errors, means: Means) -> Tensor | None:
    """The mean error of the outputs, which may be the result of a call."""
    if OUTPUTS in means.ends:
        return means.ends[OUTPUTS].view(outputs.shape)
    for tap, error in zip(taps, exact, strict=True):
        if ends_in(outputs, tap):
            return None if error is None else error.view(outputs.shape)
    return None


def ends_in(outputs: Tensor, tap: Tap) -> bool:
    """Whether the outputs are the very result of the call."""
    if not outputs.requires_grad:
        return False
    edge = get_gradient_edge(outputs)
    return edge.node is tap.edge.node and edge.output_nr == tap.edge.output_nr


def of_mean_example(replica: Replica, trace: Trace, means: Means, row: Batch) -> Gradient:
    """The gradient s of mean_example; as `gradients`."""
    mean_losses = replica.task.mean_losses
    if mean_losses is None:
        raise ValueError("The task has no mean_losses, which mean_example needs.")
    example = mean_row(means, row)
    outputs, taps = averaged(replica, trace, means, example, only_lookups=True)
    with torch.enable_grad():
        loss = mean_losses(outputs, means.ends[TARGETS][None]).sum()
    return collected(replica, taps, passed_back(loss, None, taps))


def passed_back(result: Tensor, error: Tensor | None, taps: list[Tap]) -> Errors:
    """δ at the result of each tap; None: nothing comes back to it."""
    if not taps or not result.requires_grad:
        return [None] * len(taps)
    edges = [tap.edge for tap in taps]
    return torch.autograd.grad(result, edges, error, retain_graph=True, allow_unused=True)


def collected(replica: Replica, taps: list[Tap], errors: Errors) -> Gradient:
    """Σ vjp(input, δ) over the taps of each parameter, through tensors that are made of it."""
    found = {name: torch.zeros_like(each) for name, each in replica.trainable.items()}
    with torch.no_grad():
        for tap, error in zip(taps, errors, strict=True):
            if error is None:
                continue
            layout = Layout(tap.call.axis, tap.call.strided)
            for role, names in tap.call.parameters.items():
                value, shaped = tap.values[role], error.view(tap.shape)
                own = tap.kind.gradients(tap.arguments, role, shaped, layout, 1)
                for name in names:
                    parameter = replica.trainable[name]
                    use = pulled(own, value.tensor, parameter) if value.made else own
                    found[name] += use.sums(None)
    return found
