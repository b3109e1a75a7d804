"""A case of the zoo: a small model in float64 with a batch of six examples, built anew when asked.

Parameters are moved off their initial values, so that no bias is 0 and no gain is 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch.tasks import Task
from batchgrad_workers.torch.replica import Batch, Replica

ROWS, CLASSES = 6, 3
WEIGHTS = [1.0, 0.5, 2.0, 0.0, 1.5, 0.25]
IGNORED = -100

Arrays = Mapping[str, Tensor]
Built = tuple[Task, dict[str, Tensor]]
Build = Callable[[], Built]
Losses = Callable[[Tensor, Arrays], Tensor]


@dataclass(frozen=True)
class Case:
    """A model by name.

    `looks_at_data`: its forward pass decides by values, so only one example at a time is right.
    `slopes`: its gradients are slopes of its losses; not so behind `detach` or at a `padding_idx`.
    """

    name: str
    build: Build
    looks_at_data: bool = False
    slopes: bool = True

    def made(self) -> tuple[Replica, Batch]:
        """A replica at its parameters, and the batch; the same numbers at every call."""
        return made(self.name, self.build, moved=0.1)


CASES: dict[str, Case] = {}
"""Filled by the modules of this folder; `tests.torch.zoo.everything` imports them all."""


def case(
    build: Build | None = None, *, looks_at_data: bool = False, slopes: bool = True
) -> Callable[..., Any]:
    """Enter a function that builds a model as the case of its name."""
    if build is None:
        return partial(case, looks_at_data=looks_at_data, slopes=slopes)
    name = build.__name__
    if name in CASES:
        raise ValueError(f"The zoo has two cases of the name {name}.")
    CASES[name] = Case(name, build, looks_at_data, slopes)
    return build


def made(name: str, build: Build, moved: float) -> tuple[Replica, Batch]:
    """What `build` gives, with parameters moved by normal numbers of that standard deviation."""
    with torch.random.fork_rng():
        torch.manual_seed(crc32(name.encode()))
        task, arrays = build()
        replica = Replica(task, torch.float64)
        with torch.no_grad():
            for parameter in replica.trainable.values():
                parameter.add_(moved * torch.randn_like(parameter))
    return replica, Batch(arrays, torch.tensor(WEIGHTS, dtype=torch.float64))


def no_forward(*_: Any) -> Any:
    """In place of a forward pass where the task's outputs are computed outside of the module."""
    raise NotImplementedError


class Model(nn.Module):  # type: ignore[misc]  # torch is not there for mypy
    """Modules and parameters by name, and a function of them and the inputs: the forward pass."""

    def __init__(self, function: Callable[..., Any] | None = None, **parts: Any) -> None:
        super().__init__()
        self.function = function or no_forward
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, *inputs: Any) -> Any:
        return self.function(self, *inputs)


def parameter(*shape: int) -> nn.Parameter:
    """Normal numbers to be trained."""
    return nn.Parameter(0.5 * torch.randn(shape))


def floats(*shape: int) -> Tensor:
    """Normal numbers for each example, (6, *shape)."""
    return torch.randn(ROWS, *shape, dtype=torch.float64)


def whole(limit: int, *shape: int) -> Tensor:
    """Whole numbers below `limit` for each example, (6, *shape)."""
    return torch.randint(0, limit, (ROWS, *shape))


def cross_entropy(outputs: Tensor, batch: Arrays) -> Tensor:
    """Of class scores (n, 3)."""
    return functional.cross_entropy(outputs, batch["targets"], reduction="none")


def squares(outputs: Tensor, batch: Arrays) -> Tensor:
    """Half the sum of squared differences from targets of the outputs' shape."""
    return 0.5 * (outputs - batch["targets"]).flatten(1).square().sum(1)


def of_tokens(outputs: Tensor, batch: Arrays) -> Tensor:
    """The mean cross-entropy of each example's tokens which are not -100; 0 without any."""
    labels = batch["targets"]
    each = functional.cross_entropy(
        outputs.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )
    return each.sum(1) / (labels != IGNORED).sum(1).clamp(min=1)


def of_mean_class(outputs: Tensor, means: Tensor) -> Tensor:
    """Of class scores (1, 3) and probabilities (1, 3)."""
    return functional.cross_entropy(outputs, means, reduction="none")


def of_mean_tokens(outputs: Tensor, means: Tensor) -> Tensor:
    """Of scores and of shares of words (1, T, C), which are 0 where a token is ignored."""
    each = -(means * outputs.log_softmax(2)).sum((1, 2))
    return each / means.sum((1, 2)).clamp(min=1e-9)


def task_of(
    module: nn.Module, losses: Losses, mean_losses: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Task:
    """The task of a module that takes the array "inputs"."""
    return Task(
        module,
        lambda module, batch: module(batch["inputs"]),
        losses,
        targets=lambda batch: batch["targets"],
        mean_losses=mean_losses,
    )


def classes(module: nn.Module, inputs: Tensor, losses: Losses = cross_entropy) -> Built:
    """Classification by the scores that the module gives for `inputs`."""
    means = of_mean_class if losses is cross_entropy else None
    return task_of(module, losses, means), {"inputs": inputs, "targets": whole(CLASSES)}


def numbers(module: nn.Module, inputs: Tensor, *shape: int) -> Built:
    """Regression on targets (6, *shape)."""
    arrays = {"inputs": inputs, "targets": floats(*shape)}
    task = task_of(module, squares, lambda outputs, means: squares(outputs, {"targets": means}))
    return task, arrays


def language(module: nn.Module, length: int = 5, words: int = 7) -> Built:
    """The next word, with some ignored, and all of example 1's."""
    ids, labels = whole(words, length), whole(words, length)
    labels[torch.rand(labels.shape) < 0.3] = IGNORED
    labels[1] = IGNORED
    return task_of(module, of_tokens, of_mean_tokens), {"inputs": ids, "targets": labels}
