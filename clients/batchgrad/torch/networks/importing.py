"""The keys of a spec from a torch.nn.Sequential."""

import base64
import ctypes
import json
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from batchgrad.downloads.reading import KEY
from batchgrad.errors import InvalidArgument
from batchgrad.torch.networks.layers import layer_of
from batchgrad.torch.networks.modules import Residual, Standardize

Spec = dict[str, Any]
NAMES = {torch.float32: ("F32", "float32"), torch.float64: ("F64", "float64")}


def spec_keys(network: Any) -> Spec:
    """See `from_torch`."""
    if not isinstance(network, nn.Sequential):
        raise InvalidArgument(
            f"network is {type(network).__name__}; expected a torch.nn.Sequential: "
            "torch.nn.Sequential(network.first, torch.nn.ReLU(), …) of its modules in order."
        )
    modules = list(_flat(network, ""))
    known = None
    if modules and isinstance(modules[0][1], Standardize):
        known = modules.pop(0)[1]
    layers, parameters = _layers(modules, "")
    if not layers:
        raise InvalidArgument("network has no modules.")
    wide = any(each.dtype == torch.float64 for each in parameters.values())
    dtype = torch.float64 if wide else torch.float32
    start: Spec = {}
    if parameters:
        tensors = {name: each.detach().cpu().to(dtype) for name, each in parameters.items()}
        content = base64.b64encode(_safetensors(tensors, known)).decode()
        start["initial_parameters"] = {"safetensors": content}
        if known is not None:
            start["initial_parameters"]["standardization"] = "keep"
    if known is not None:
        start["standardize"] = True
    return {"model": {"layers": layers}, "precision": NAMES[dtype][1], **start}


def _flat(network: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Names and modules in order; those of a Sequential in it are part of it."""
    for name, module in network.named_children():
        if isinstance(module, nn.Sequential) and not isinstance(module, Residual):
            yield from _flat(module, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", module


def _layers(modules: Sequence[tuple[str, Any]], prefix: str) -> tuple[list[Spec], Spec]:
    """The layers, and their parameters by our names, which begin with `prefix`."""
    layers: list[Spec] = []
    parameters: Spec = {}
    for place, (name, module) in enumerate(modules):
        own = f"{prefix}{len(layers)}."
        if isinstance(module, Residual):
            inner, found = _layers(list(_flat(module, f"{name}.")), own)
            layers.append({"kind": "residual", "layers": inner})
            parameters |= found
            continue
        following = modules[place + 1][1] if place + 1 < len(modules) else None
        layers.append(layer_of(name, module, following))
        for key, value in module.named_parameters(recurse=False):
            if value.dtype not in NAMES:
                raise InvalidArgument(
                    f"Module {name} has {value.dtype} parameters; expected float32 or float64: "
                    "network.float()."
                )
            parameters[f"{own}{key}"] = value
    return layers, parameters


def _safetensors(tensors: dict[str, Any], known: Standardize | None) -> bytes:
    """A safetensors file; its metadata say how the inputs are standardized."""
    header: Spec = {}
    if known is not None:
        about = {
            "mean": known.mean.tolist(),
            "deviation": known.deviation.tolist(),
        }
        header["__metadata__"] = {KEY: json.dumps({"standardization": about})}
    parts, at = [], 0
    for name, tensor in tensors.items():
        part = _bytes(tensor.contiguous())
        kind, end = NAMES[tensor.dtype][0], at + len(part)
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, end]}
        parts.append(part)
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _bytes(tensor: Any) -> bytes:
    """A tensor's bytes; torch's own way to them needs numpy."""
    return ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size())
