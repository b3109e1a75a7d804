"""Properties of a module that its copies would not have, though its training follows from them."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

HOOKED = (
    "Parameter {name} has a hook on its gradient (register_hook), which copies of the module and "
    "sums over examples do not run. Write it into the forward pass: weight * mask keeps numbers at "
    "0, requires_grad_(False) freezes a parameter, optimizer.groups gives it a learning rate."
)
SHARED = (
    "{first} and {second} are two tensors in the same memory, which are apart in a copy of the "
    "module, so that an update of one would not change the other. Use one parameter for both, "
    "b.weight = a.weight, or compute one from the other in the forward pass."
)


SCRIPTED = (
    "Module {name} is TorchScript ({kind}), whose parameters can't be replaced by those of a step. "
    "Use the module that was scripted or traced, or freeze its parameters."
)


def lost(module: nn.Module) -> str:
    """Words for a property of the module that a copy would lose; none if there is no such thing."""
    for name, part in module.named_modules():
        trained = any(parameter.requires_grad for parameter in part.parameters())
        if trained and isinstance(part, torch.jit.ScriptModule):
            return SCRIPTED.format(name=name or "itself", kind=type(part).__name__)
    for name, parameter in module.named_parameters():
        hooks = parameter._backward_hooks  # noqa: SLF001 - torch has no other name for them
        after = getattr(parameter, "_post_accumulate_grad_hooks", None)
        if parameter.requires_grad and (hooks or after):
            return HOOKED.format(name=name)
    places = sorted(_places(module), key=lambda place: place[:3])
    reached: dict[int, tuple[int, str, bool]] = {}
    for storage, start, stop, name, trained in places:
        end, other, others = reached.get(storage, (0, "", False))
        if start < end and (trained or others):
            return SHARED.format(first=other, second=name)
        if stop > end:
            reached[storage] = stop, name, trained
    return ""


def _places(module: nn.Module) -> Iterator[tuple[int, int, int, str, bool]]:
    """Of each tensor: its memory, its first byte and that after its last, name, if it is trained.

    Tensors that are attributes, neither parameters nor buffers, are among them.
    """
    seen = set[int]()
    for owner, part in module.named_modules():
        own = {**part._parameters, **part._buffers, **vars(part)}  # noqa: SLF001
        for local, each in own.items():
            if not isinstance(each, Tensor) or id(each) in seen or not _has_memory(each):
                continue
            seen.add(id(each))
            steps = zip(each.shape, each.stride(), strict=True)
            last = sum((size - 1) * step for size, step in steps)
            size = each.element_size()
            start = each.storage_offset() * size
            name = f"{owner}.{local}" if owner else local
            trained = isinstance(each, nn.Parameter) and each.requires_grad
            yield each.untyped_storage().data_ptr(), start, start + (last + 1) * size, name, trained


def _has_memory(tensor: Tensor) -> bool:
    lazy = nn.parameter.is_lazy(tensor)
    return not lazy and tensor.layout == torch.strided and tensor.numel() > 0 and not tensor.is_meta
