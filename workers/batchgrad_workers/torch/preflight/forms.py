"""Checks of what a task gives: outputs and losses of the right shape, kind and size."""

from typing import Any

import torch
from torch import Tensor

from batchgrad_workers.torch.refusal import Refused
from batchgrad_workers.torch.replica import Replica

TRAINED = {torch.float32, torch.float64}


def check_parameters(replica: Replica) -> None:
    """Refuse a module without a trainable parameter, or with one that is no float.

    Raises:
        Refused: see there.
    """
    if not replica.trainable:
        frozen = sum(1 for _ in replica.module.parameters())
        raise Refused(
            f"The module has no trainable parameter: {frozen} parameters, none of which requires "
            "a gradient. Set requires_grad_(True) on what shall be trained."
        )
    for name, parameter in replica.trainable.items():
        if parameter.dtype not in TRAINED:
            raise Refused(
                f"Parameter {name} is {_dtype(parameter)}; expected float32 or float64. Keep a "
                "complex parameter as real numbers with an axis of 2, torch.view_as_complex."
            )


def check_outputs(outputs: Any, n: int) -> None:
    """Refuse outputs that are not of n examples.

    Raises:
        Refused: says what arrived and what to write instead.
    """
    if not isinstance(outputs, Tensor):
        raise Refused(
            f"The task's outputs are {_kind(outputs)}; expected one tensor (n, …). Return the part "
            "that the losses need, for instance outputs.logits, or torch.cat several."
        )
    if outputs.ndim == 0 or len(outputs) != n:
        raise Refused(
            f"The task's outputs have shape {list(outputs.shape)} for {n} examples; expected "
            f"[{n}, …], the examples on the first axis."
        )


def check_losses(losses: Any, n: int) -> None:
    """Refuse losses that are not one of each of n examples, with a graph.

    Raises:
        Refused: says what arrived and what to write instead.
    """
    if not isinstance(losses, Tensor):
        raise Refused(f"The task's losses are {_kind(losses)}; expected a tensor ({n},).")
    if tuple(losses.shape) != (n,):
        raise Refused(_shape(losses, n))
    if losses.dtype not in TRAINED:
        raise Refused(
            f"The task's losses are {_dtype(losses)}; expected float32 or float64: compute them "
            "from outputs.float()."
        )
    if not losses.requires_grad:
        raise Refused(
            "The losses do not depend on any trainable parameter: something detaches them "
            "(torch.no_grad, detach, item, argmax), or what they depend on is frozen."
        )


def untrained(losses: Tensor, replica: Replica) -> str:
    """Words for tensors that losses have gradients for and that are no parameters; or none."""
    known = {id(parameter) for parameter in replica.module.parameters()}
    shapes, seen, nodes = [], set[Any](), [losses.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, Tensor) and id(leaf) not in known:
            shapes.append(str(list(leaf.shape)))
        nodes += [each for each, _ in node.next_functions]
    if not shapes:
        return ""
    return (
        f"The losses have gradients for tensors of shape {', '.join(shapes[:5])} that are no "
        "parameters of the module, so they are not trained: a list or dictionary of parameters "
        "must be a ParameterList, ModuleList, ParameterDict or ModuleDict, and modules that only "
        "the functions of a task use must be parts of its module."
    )


def check_finite(losses: Tensor) -> None:
    """Refuse losses of real examples that are not finite at the initial parameters.

    Raises:
        Refused: names the rows.
    """
    wrong = [n for n, loss in enumerate(losses.tolist()) if not -torch.inf < loss < torch.inf]
    if wrong:
        values = ", ".join(f"{losses[n].item()}" for n in wrong[:3])
        raise Refused(
            f"The losses of rows {wrong[:5]} are {values} at the initial parameters; expected "
            "finite numbers. Look for NaN in these rows, for the logarithm of 0, for an attention "
            "mask that leaves nothing, and for a mean over no tokens (clamp(min=1))."
        )


def _shape(losses: Tensor, n: int) -> str:
    got = f"The task's losses have shape {list(losses.shape)} for {n} examples; expected [{n}]"
    if losses.numel() == 1:
        return (
            f"{got}: one loss for each example, not their mean. Use reduction='none', as in "
            "torch.nn.functional.cross_entropy(outputs, targets, reduction='none')."
        )
    if losses.ndim == 2 and tuple(losses.shape) == (n, 1):
        return f"{got}: losses.squeeze(1)."
    if losses.ndim >= 2 and len(losses) == n:
        return f"{got}: take each example's mean or sum, losses.flatten(1).mean(1)."
    if losses.ndim == 1 and losses.numel() % n == 0:
        return f"{got}: take each example's mean or sum, losses.view({n}, -1).mean(1)."
    return f"{got}, one loss for each example, in their order."


def _kind(found: Any) -> str:
    return f"of type {type(found).__name__}"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
