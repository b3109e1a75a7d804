"""A workload as a PyTorch module, with its data as tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.workloads import Minibatches, Workload, data


def module(workload: Workload) -> Any:
    """The same layers as an `nn.Sequential`."""
    shape = (1, *workload.input_shape)
    layers: list[Any] = []
    probe = torch.zeros(shape)
    for layer in workload.layers:
        match layer["kind"]:
            case "linear":
                made: Any = nn.Linear(probe.shape[-1], layer["out_features"])
            case "conv2d":
                made = nn.Conv2d(
                    probe.shape[1],
                    layer["out_channels"],
                    layer["kernel_size"],
                    padding=layer["padding"],
                )
            case "max_pool2d":
                made = nn.MaxPool2d(layer["kernel_size"])
            case "flatten":
                made = nn.Flatten()
            case "relu":
                made = nn.ReLU()
            case kind:
                raise ValueError(f"No PyTorch layer is known here for {kind!r}.")
        layers.append(made)
        probe = made(probe)
    return nn.Sequential(*layers)


def tensors(workload: Workload) -> tuple[Any, Any]:
    """Inputs (n, …) float32 and classes (n,) int64."""
    inputs, targets = data(workload)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def minibatches(workload: Workload) -> Callable[[], tuple[Any, Any]]:
    """A function that gathers the next minibatch's rows."""
    inputs, targets = tensors(workload)
    order = Minibatches(workload)

    def gather() -> tuple[Any, Any]:
        ids = torch.from_numpy(order.next())
        return inputs[ids], targets[ids]

    return gather
