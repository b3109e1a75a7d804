"""Functions that build tasks, right and wrong ones, which specs of the tests name."""

from typing import Any

import torch
from torch import nn

from batchgrad.torch import classification
from batchgrad.torch.tasks import Task


class Net(nn.Module):  # type: ignore[misc] # torch has no types here
    """Frozen first layer, a buffer, a head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(3, width).requires_grad_(requires_grad=False)
        self.head = nn.Linear(width, 2)
        self.register_buffer("shift", torch.zeros(width))

    def forward(self, inputs: Any) -> Any:
        return self.head((self.first(inputs) + self.shift).tanh())


def net(config: dict[str, Any]) -> Task:
    """Two classes from three numbers."""
    return classification(Net(config.get("width", 4)))


def without_accuracy(config: dict[str, Any]) -> Task:
    """The same without `correct`; examples weigh by their class."""
    task = net(config)
    return Task(task.module, task.outputs, task.losses, weights=lambda batch: batch["targets"] + 1)


def of_one_class(config: dict[str, Any]) -> Task:
    """The same, where examples of the first class weigh nothing."""
    task = net(config)
    return Task(task.module, task.outputs, task.losses, weights=lambda batch: batch["targets"])


def asks_for_tokens(config: dict[str, Any]) -> Task:
    """A task for another dataset."""
    task = net(config)
    return Task(task.module, lambda module, batch: module(batch["tokens"]), task.losses)


def overflowing(config: dict[str, Any]) -> Task:
    """The loss of row 8, which begins with 24, is infinite."""
    task = net(config)

    def losses(outputs: Any, batch: Any) -> Any:
        return task.losses(outputs, batch) * (1 + 1e30 * (batch["inputs"][:, 0] == 24)) ** 2

    return Task(task.module, task.outputs, losses)


def mixing(config: dict[str, Any]) -> Task:
    """A module that normalizes by the batch."""
    width = config.get("width", 4)
    return classification(nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width)))


def late(config: dict[str, Any]) -> Task:
    """Fails at an example whose first number is 100."""
    task = net(config)

    def outputs(module: nn.Module, batch: Any) -> Any:
        if (batch["inputs"][:, 0] == 100).any():
            raise LookupError(str(batch["inputs"].shape))
        return module(batch["inputs"])

    return Task(task.module, outputs, task.losses)


def raises(config: dict[str, Any]) -> Task:
    """An error of torch in the function itself."""
    return classification(nn.Linear(3, config["outputs"]))


def prints(config: dict[str, Any]) -> Task:
    """Prints on stdout, where the answer goes."""
    print("building", flush=True)  # noqa: T201 (what users do)
    return net(config)


def module_alone(config: dict[str, Any]) -> nn.Module:
    """No task."""
    return net(config).module


def huge(config: dict[str, Any]) -> Task:
    """Four terabytes."""
    return classification(nn.Linear(3, config.get("width", 2**38)))
