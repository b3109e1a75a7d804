"""Small batches: for replicas with cross entropy, and for ready tasks, with a module to fit."""

import torch
from torch import Tensor, nn

from batchgrad.torch import Task
from batchgrad_workers.torch.replica import Batch

N, WIDTH, CLASSES = 5, 4, 3
"""Of the batch for ready tasks."""


def labelled() -> Batch:
    """Six examples of five numbers, three classes, with weights."""
    random = torch.Generator().manual_seed(2)
    inputs = torch.randn(6, 5, dtype=torch.float64, generator=random)
    targets = torch.randint(0, 3, (6,), generator=random)
    weights = torch.rand(6, dtype=torch.float64, generator=random)
    return Batch({"inputs": inputs, "targets": targets}, weights)


def linear() -> nn.Module:
    torch.manual_seed(3)
    return nn.Linear(WIDTH, CLASSES).double()


def arrays() -> dict[str, Tensor]:
    """Inputs in float32, which go to the module's dtype, and targets of each kind."""
    random = torch.Generator().manual_seed(4)
    return {
        "inputs": torch.randn(N, WIDTH, generator=random),
        "targets": torch.randint(0, CLASSES, (N,), generator=random),
        "values": torch.randn(N, CLASSES, generator=random, dtype=torch.float64) * 2,
        "shares": torch.rand(N, CLASSES, generator=random, dtype=torch.float64),
    }


def losses(task: Task, batch: dict[str, Tensor]) -> Tensor:
    return task.losses(task.outputs(task.module, batch), batch)
