"""Description of a task's module for people: its parameters, and the modules that hold them."""

from contextlib import ExitStack
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from batchgrad.contract import Precision
from batchgrad.torch.tasks import Task
from batchgrad_workers.torch.examples import tensors
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.tapping.mode import tensors as among
from batchgrad_workers.torch.trainable import DTYPES


def describe(
    task: Task, precision: Precision, arrays: dict[str, npt.NDArray[Any]]
) -> dict[str, list[dict[str, Any]]]:
    """`parameters` with name, shape and whether they are trained; `layers` as in a plan.

    A layer is a module that holds trained parameters itself; its output's shape is that for an
    example of `arrays` (n, …), empty if the output is no tensor.
    """
    replica = Replica(task, DTYPES[precision])
    trained = {id(parameter) for parameter in replica.trainable.values()}
    owners = {
        name: module
        for name, module in replica.module.named_modules()
        if any(id(each) in trained for each in module.parameters(recurse=False))
    }
    shapes: dict[str, list[int]] = {}
    n = len(next(iter(arrays.values())))
    with ExitStack() as hooks:
        for name, module in owners.items():
            hooks.callback(module.register_forward_hook(_recording(shapes, name, n)).remove)
        with replica.evaluating(), torch.no_grad():
            replica.outputs(Batch(tensors(arrays), torch.ones(n, dtype=replica.dtype)))
    return {
        "parameters": [
            {"name": name, "shape": list(each.shape), "trainable": each.requires_grad}
            for name, each in replica.module.named_parameters()
        ],
        "layers": [
            {
                "name": name or "(root)",
                "kind": type(module).__name__,
                "output_shape": shapes.get(name, []),
                "parameters": sum(
                    each.numel() for each in module.parameters(recurse=False) if id(each) in trained
                ),
            }
            for name, module in owners.items()
        ],
    }


def _recording(shapes: dict[str, list[int]], name: str, n: int) -> Any:
    """A hook that notes the shape of a module's output without the axis of its n examples."""

    def note(module: nn.Module, given: Any, output: Any) -> None:
        del module, given
        first = next(among((output,), {}), None)
        if first is not None:
            shape = list(first.shape)
            if n in shape:
                shape.remove(n)
            shapes[name] = shape

    return note
