"""Which module mixes examples: the first whose output shows it while its input does not."""

from collections.abc import Callable

import torch
from torch import Tensor

from batchgrad_workers.torch.preflight.watching import Given, Run

Spread = Callable[[Tensor, Tensor, Tensor], bool]

INSTEAD = {
    "BatchNorm": (
        "BatchNorm normalizes by the batch's mean and variance. Use GroupNorm or LayerNorm, or "
        "fix its statistics: call eval() of this module alone, not of the whole."
    ),
    "InstanceNorm": "Leave out track_running_stats, which changes buffers by every batch.",
    "MultiheadAttention": (
        "Without batch_first=True it takes the second axis for the examples: set it, or transpose."
    ),
    "Transformer": (
        "Without batch_first=True it takes the second axis for the examples: set it, or transpose."
    ),
    "Embedding": (
        "Leave out scale_grad_by_freq, which divides gradients by counts in the batch, and "
        "max_norm, which changes the parameters in the forward pass."
    ),
    "LSTM": "Without batch_first=True it takes the second axis for the examples: set it.",
    "GRU": "Without batch_first=True it takes the second axis for the examples: set it.",
    "RNN": "Without batch_first=True it takes the second axis for the examples: set it.",
}
OTHERWISE = (
    "Take means, maxima, medians, sorts and counts over an example's own numbers (axes 1, 2, …), "
    "never over axis 0 or the whole batch, and let nothing depend on the number of examples."
)
LOSSES = (
    "Each loss must follow from its own row: no mean over the batch and no pairs of rows. Use "
    "reduction='none', divide by an example's own number of tokens (and give these as `weights`), "
    "and make both members of a pair arrays of one example."
)


def instead(kind: str) -> str:
    """What people use instead of a module of that kind."""
    known = kind.replace("SyncBatchNorm", "BatchNorm")
    return next((words for name, words in INSTEAD.items() if name in known), OTHERWISE)


def culprit(first: Run, second: Run, smaller: Run, spread: Spread) -> str:
    """Words for the place where two runs begin to differ in other rows than they may.

    `spread` tells whether two tensors of the same place do, given the one of a smaller batch.
    """
    triples = zip(first.modules, second.modules, smaller.modules, strict=False)
    for given, other, less in triples:
        if not _differ(given.outputs, other.outputs, less.outputs, spread):
            continue
        if not _differ(given.inputs, other.inputs, less.inputs, spread):
            return module_words(given.name, given.kind)
        return _caller(given, first)
    outputs = [[run.outputs.detach()] for run in (first, second, smaller)]
    if _differ(outputs[0], outputs[1], outputs[2], spread):
        return f"The task's outputs mix examples outside of modules. {OTHERWISE}"
    return f"The task's losses mix examples. {LOSSES}"


def unsteady(one: Run, other: Run) -> str:
    """Words for the place where two runs of the same batch begin to differ."""

    def differs(first: list[Tensor], second: list[Tensor]) -> bool:
        pairs = zip(first, second, strict=False)
        return any(a.shape != b.shape or not bool(same(a, b, 0).all()) for a, b in pairs)

    for given, again in zip(one.modules, other.modules, strict=False):
        if differs(given.outputs, again.outputs):
            if not differs(given.inputs, again.inputs):
                return f"Module {given.name or 'itself'} ({given.kind})"
            return "The task" if given.caller is None else f"Module {given.caller or 'itself'}"
    return "The task"


def module_words(name: str, kind: str) -> str:
    """That a module mixes examples, and what to use instead."""
    where = f"Module {name} ({kind})" if name else f"The module itself ({kind})"
    return f"{where} mixes examples. {instead(kind)}"


def _caller(given: Given, run: Run) -> str:
    """The module that called this one with mixed inputs."""
    if given.caller is None:
        return f"The task's outputs mix examples before module {given.name}. {OTHERWISE}"
    kind = next((each.kind for each in run.modules if each.name == given.caller), "module")
    where = f"module {given.caller} ({kind})" if given.caller else f"the module itself ({kind})"
    return f"The forward pass of {where} mixes examples before it calls {given.name}. {OTHERWISE}"


def _differ(
    first: list[Tensor], second: list[Tensor], smaller: list[Tensor], spread: Spread
) -> bool:
    groups = zip(first, second, smaller, strict=False)
    return any(spread(one, other, less) for one, other, less in groups)


def outside(
    one: Tensor, other: Tensor, smaller: Tensor, row: int, n: int, tolerance: float
) -> bool:
    """Whether two tensors of n examples differ in others' numbers than those of example `row`.

    `smaller` is the same tensor of n - 1 examples: the axis whose length differs holds them.
    """
    if one.shape != other.shape or one.ndim != smaller.ndim:
        return False  # its shape follows from data, so that places can't be told
    differs = ~same(one, other, tolerance)
    axes = [axis for axis in range(one.ndim) if one.shape[axis] != smaller.shape[axis]]
    if len(axes) != 1 or one.shape[axes[0]] % n:
        return bool(differs.any())
    places = differs.movedim(axes[0], 0).flatten(1).any(1)
    blocks, strides = places.view(n, -1).any(1), places.view(-1, n).any(0)
    return min(int(each.sum() - each[row].long()) for each in (blocks, strides)) > 0


def unlike(one: Tensor, other: Tensor, rows: list[int], n: int, tolerance: float) -> bool:
    """Whether those rows of a tensor of n examples differ from a tensor of these rows alone."""
    if one.ndim != other.ndim:
        return False
    axes = [axis for axis in range(one.ndim) if one.shape[axis] != other.shape[axis]]
    if not axes:
        return not bool(same(one, other, tolerance).all())
    axis, k = axes[0], len(rows)
    if len(axes) != 1 or one.shape[axis] % n or one.shape[axis] // n * k != other.shape[axis]:
        return False  # its shape follows from data or from n in another way
    whole = one.movedim(axis, 0)
    blocks = whole.unflatten(0, (n, -1))[rows].flatten(0, 1)
    strides = whole.unflatten(0, (-1, n))[:, rows].flatten(0, 1)
    alone = other.movedim(axis, 0)
    return not any(bool(same(each, alone, tolerance).all()) for each in (blocks, strides))


def same(one: Tensor, other: Tensor, tolerance: float) -> Tensor:
    """Where two tensors have the same bits or both NaN; with a tolerance, where they are close."""
    if tolerance and one.is_floating_point():
        size = one[one.isfinite()].abs().max() if one.isfinite().any() else one.new_zeros(())
        return torch.isclose(one, other, rtol=0, atol=float(size) * tolerance, equal_nan=True)
    return (one == other) | ((one != one) & (other != other))  # noqa: PLR0124 (NaN)
