"""A download as a torch.nn.Sequential."""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import torch
from torch import nn

from batchgrad.contract import Model
from batchgrad.downloads.reading import Tensor, read_card, read_metadata, read_tensors
from batchgrad.errors import InvalidArgument
from batchgrad.files import CARD_FILE
from batchgrad.torch.networks.modules import ChannelMean, Residual, SequenceMean, Standardize

Spec = Mapping[str, Any]
"""A layer's keys, as in a spec, with their defaults."""


def sequential(content: bytes) -> Any:
    """The network of a safetensors download; see `to_torch`."""
    card = read_card(content)
    parameters = {name: _tensor(tensor) for name, tensor in read_tensors(content).items()}
    layers = Model.model_validate({"layers": card.layers}).model_dump()["layers"]
    modules = _modules(layers, "", parameters)
    dtype = next((each.dtype for each in parameters.values()), torch.float32)
    if card.standardization is not None:
        known = card.standardization
        first = [("standardize", Standardize(known.mean, known.deviation, dtype))]
        modules = OrderedDict([*first, *modules.items()])
    network = nn.Sequential(modules)
    network.load_state_dict(parameters, strict=False, assign=True)
    return network.eval()


def program(content: bytes) -> bytes:
    """The network as a file of torch.export; see `exported`."""
    card, network = read_card(content), sequential(content)
    shape = card.training.input_shape if card.training else []
    takes_ids = isinstance(network[0], nn.Embedding)
    dtype = next((each.dtype for each in network.parameters()), torch.float32)
    example = torch.zeros((2, *shape), dtype=torch.int64 if takes_ids else dtype)
    made = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("n")},))
    file = BytesIO()
    about = json.dumps(read_metadata(content))
    torch.export.save(made, file, extra_files={CARD_FILE: about})
    return file.getvalue()


def _tensor(tensor: Tensor) -> Any:
    dtype = getattr(torch, tensor.dtype)
    if not tensor.content.nbytes:
        return torch.empty(tensor.shape, dtype=dtype)
    return torch.frombuffer(bytearray(tensor.content), dtype=dtype).reshape(tensor.shape)


def _modules(
    layers: Sequence[Spec], prefix: str, parameters: Mapping[str, Any]
) -> "OrderedDict[str, Any]":
    """Modules by number; `prefix` begins the names of their parameters."""
    found: OrderedDict[str, Any] = OrderedDict()
    for index, spec in enumerate(layers):
        name = f"{prefix}{index}"
        if spec["kind"] == "residual":
            found[str(index)] = Residual(_modules(spec["layers"], f"{name}.", parameters))
            continue
        if spec["kind"] not in MODULES:
            raise InvalidArgument(
                f"Layer {name} is {spec['kind']}, which has no counterpart in PyTorch here: load "
                "the parameters into a network of your own."
            )
        shape = tuple(parameters[f"{name}.weight"].shape) if f"{name}.weight" in parameters else ()
        found[str(index)] = MODULES[spec["kind"]](spec, shape)
    return found


def _conv(kind: Any) -> Callable[[Spec, tuple[int, ...]], Any]:
    keys = ("kernel_size", "stride", "padding", "dilation", "groups", "bias")
    return lambda spec, shape: kind(
        shape[1] * spec["groups"], shape[0], **{key: spec[key] for key in keys}
    )


def _pool(kind: Any) -> Callable[[Spec, tuple[int, ...]], Any]:
    return lambda spec, _: kind(spec["kernel_size"], spec["stride"], spec["padding"])


MODULES: dict[str, Callable[[Spec, tuple[int, ...]], Any]] = {
    "linear": lambda spec, shape: nn.Linear(shape[1], shape[0], bias=spec["bias"]),
    "conv1d": _conv(nn.Conv1d),
    "conv2d": _conv(nn.Conv2d),
    "max_pool2d": _pool(nn.MaxPool2d),
    "avg_pool2d": _pool(nn.AvgPool2d),
    "global_avg_pool": lambda _, __: ChannelMean(),
    "sequence_mean": lambda _, __: SequenceMean(),
    "layer_norm": lambda spec, shape: nn.LayerNorm(shape[0], spec["eps"]),
    "group_norm": lambda spec, shape: nn.GroupNorm(spec["num_groups"], shape[0], spec["eps"]),
    "embedding": lambda spec, shape: nn.Embedding(*shape, padding_idx=spec["padding_idx"]),
    "flatten": lambda _, __: nn.Flatten(),
    "dropout": lambda spec, _: nn.Dropout(spec["p"]),
    "identity": lambda _, __: nn.Identity(),
    "relu": lambda _, __: nn.ReLU(),
    "leaky_relu": lambda spec, _: nn.LeakyReLU(spec["negative_slope"]),
    "tanh": lambda _, __: nn.Tanh(),
    "sigmoid": lambda _, __: nn.Sigmoid(),
    "gelu": lambda _, __: nn.GELU(),
    "silu": lambda _, __: nn.SiLU(),
    "softplus": lambda _, __: nn.Softplus(),
    "elu": lambda spec, _: nn.ELU(spec["alpha"]),
}
"""A module for each kind of layer, from its spec and its weight's shape, () without a weight."""
