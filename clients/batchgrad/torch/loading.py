"""Trained parameters of a job or a file, loaded into a module of the user."""

from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from batchgrad.errors import InvalidArgument
from batchgrad.parsing.suggestions import suggest
from batchgrad.torch.packing.archive import tensors_of
from batchgrad.torch.ready.checks import check_module


def load_content(module: nn.Module, content: bytes) -> None:
    """Copy the parameters of a safetensors file into a module; see `batchgrad.torch.load`.

    Nothing is copied if the file does not fit.
    """
    check_module(module)
    if content[:2] == b"PK":
        raise InvalidArgument("The file is an npz; expected a safetensors file: download one.")
    try:
        found = safetensors.torch.load(content)
    except SafetensorError as error:
        raise InvalidArgument(f"The file is no safetensors file: {error}.") from error
    wanted = tensors_of(module)
    _check(found, wanted)
    with torch.no_grad():
        for name, tensor in found.items():
            wanted[name].copy_(tensor)


def _check(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Raise InvalidArgument unless names and shapes fit."""
    kind = "The file has {}; the module "
    for name, tensor in found.items():
        if name not in wanted:
            meant: Any = suggest(name, list(wanted))
            hint = f": did you rename {meant}?" if meant else f"; it has {_listed(wanted)}."
            raise InvalidArgument(kind.format(name) + f"has no parameter of this name{hint}")
        if tensor.shape != wanted[name].shape:
            raise InvalidArgument(
                kind.format(f"{name} {list(tensor.shape)}")
                + f"has {name} {list(wanted[name].shape)}: build it as it was trained."
            )
    for name, tensor in wanted.items():
        if isinstance(tensor, nn.Parameter) and tensor.requires_grad and name not in found:
            raise InvalidArgument(
                f"The module has {name}, which is trainable; the file has {_listed(found)}. Freeze "
                "it, or build the module as it was trained."
            )


def _listed(names: dict[str, Tensor]) -> str:
    few = list(names)[:10]
    more = f" and {len(names) - len(few)} others" if len(names) > len(few) else ""
    return (", ".join(few) or "no parameters") + more
