"""The outputs of a module for a batch: which arrays its forward method gets, and how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn

from batchgrad.errors import InvalidArgument
from batchgrad.torch.tasks import Arrays

_BYTES = {torch.uint8, torch.bool}


@dataclass(frozen=True)
class Forward:
    """Outputs (n, …) of a module for a batch: `Forward(inputs, targets)(module, batch)`.

    The array `inputs` goes to the parameter of its name, or else to the first one. Every other
    array but `targets` is passed by keyword if forward has a parameter of its name; if forward has
    only *args and **kwargs, all are. Floating point numbers get the dtype of the module's
    parameters, integers become int64; bytes and booleans stay, but with `ids` the inputs become
    int64 too. The outputs' axis `class_axis` is moved to the end.

    A module may return a tensor, an object with `logits`, a mapping with "logits" or with a single
    tensor, or a tuple whose first element is the outputs.

    Raises:
        InvalidArgument: the batch has no such array, or forward returns something else.
    """

    inputs: str
    targets: str
    ids: bool = False
    class_axis: int = -1

    def __call__(self, module: nn.Module, batch: Arrays) -> Tensor:
        """The outputs (n, …)."""
        others = {
            name: each for name, each in batch.items() if name not in {self.inputs, self.targets}
        }
        dtype = dtype_of(module)
        first = converted(array(batch, self.inputs), dtype)
        if self.ids and not first.is_floating_point():
            first = first.to(torch.int64)
        named, takes_all = _parameters(getattr(module.forward, "__func__", module.forward))
        keywords = {
            name: converted(each, dtype)
            for name, each in others.items()
            if takes_all or name in named
        }
        if self.inputs in named:
            found = module(**{self.inputs: first}, **keywords)
        else:
            found = module(first, **keywords)
        outputs = logits(found)
        return outputs if self.class_axis == -1 else outputs.movedim(self.class_axis, -1)


def array(batch: Arrays, name: str) -> Tensor:
    """The array of this name.

    Raises:
        InvalidArgument: there is none.
    """
    if name not in batch:
        known = ", ".join(batch) or "none"
        raise InvalidArgument(
            f"The batch has no array {name!r}; its arrays are {known}: name the right one in the "
            "task, or push the dataset with it."
        )
    return batch[name]


def dtype_of(module: nn.Module) -> torch.dtype:
    """The dtype of the module's first floating point parameter; float32 if it has none."""
    types = (each.dtype for each in module.parameters() if each.is_floating_point())
    return next(types, torch.float32)


def converted(given: Tensor, dtype: torch.dtype) -> Tensor:
    """Floating point numbers in `dtype`, integers as int64; bytes and booleans as they are."""
    if given.is_floating_point():
        return given.to(dtype)
    return given if given.dtype in _BYTES or given.is_complex() else given.to(torch.int64)


def logits(found: Any) -> Tensor:
    """The tensor of outputs in what a module returned.

    Raises:
        InvalidArgument: there is none, or there are several.
    """
    if isinstance(found, Tensor):
        return found
    if isinstance(getattr(found, "logits", None), Tensor):
        return found.logits
    if isinstance(found, Mapping):
        tensors = [each for each in found.values() if isinstance(each, Tensor)]
        if isinstance(found.get("logits"), Tensor):
            return found["logits"]
        if len(tensors) == 1:
            return tensors[0]
    if isinstance(found, tuple | list) and found and isinstance(found[0], Tensor):
        return found[0]
    about = f" with the keys {', '.join(map(str, found))}" if isinstance(found, Mapping) else ""
    raise InvalidArgument(
        f"The module returned a {type(found).__name__}{about}; expected a tensor, an object with "
        "logits, a mapping with logits, or a tuple that begins with a tensor: return the outputs, "
        "or give a batchgrad.torch.Task with outputs of your own."
    )


@lru_cache(maxsize=256)
def _parameters(forward: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    """The names that forward takes by keyword, and whether it takes any, and names none."""
    kinds = {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}
    all_of_them = signature(forward).parameters.values()
    named = frozenset(each.name for each in all_of_them if each.kind in kinds) - {"self"}
    return named, not named and any(each.kind is Parameter.VAR_KEYWORD for each in all_of_them)
