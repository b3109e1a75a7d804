"""Small modules whose outputs have positions, and a row whose gradient's terms cancel there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch.tasks import Task
from batchgrad_workers.torch.replica import Batch, Replica
from tests.torch.zoo.case import Model, parameter, squares

N = 6


@dataclass(frozen=True)
class Positions:
    """A module in float32 that takes an array of `shape` (*positions, …), of ids below `words`.

    Positions lie along `axis` of an example of the input, and `result` of one of the output; where
    an example has several, along the axes from there on.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    axis: int = 0
    result: int = 0
    count: int = 1
    words: int = 0

    def made(self) -> tuple[Replica, Callable[[float], Batch]]:
        """A replica, and a batch by the size of the errors of row 0, whose sum over positions is 0.

        Row 0 has the same numbers at each position.
        """
        torch.manual_seed(11)
        replica = Replica(
            Task(self.build(), lambda module, batch: module(batch["inputs"]), squares)
        )
        if self.words:
            inputs = torch.randint(0, self.words, (N, *self.shape))
        else:
            inputs = torch.randn(N, *self.shape)
        first = inputs[0]
        for axis in range(self.axis, self.axis + self.count):
            first.copy_(first.narrow(axis, 0, 1).expand_as(first).clone())
        with torch.no_grad():
            outputs = replica.module(inputs)
        noise = torch.randn_like(outputs)
        own = noise[0]
        for axis in range(self.result, self.result + self.count):
            own.copy_(own.narrow(axis, 0, 1).expand_as(own).clone())
        signs = torch.ones_like(own)
        signs.transpose(0, self.result)[1::2] = -1

        def batch(size: float) -> Batch:
            targets = outputs + noise
            targets[0] = outputs[0] + size * signs * own
            return Batch({"inputs": inputs, "targets": targets}, torch.ones(N))

        return replica, batch


def model(function: Callable[..., Any], **parts: Any) -> Callable[[], nn.Module]:
    """Builds a model anew, from functions that make its parts."""
    return lambda: Model(function, **{name: part() for name, part in parts.items()})


def weights(*shape: int) -> Callable[[], nn.Parameter]:
    return lambda: parameter(*shape)


def by_rows(m: Any, x: Tensor) -> Tensor:
    return torch.addmm(m.b, x.flatten(0, 1), m.w).unflatten(0, (len(x), -1))


def halves(m: Any, x: Tensor) -> Tensor:
    return functional.linear(x, m.w[:7]) + functional.linear(x, m.w[7:])


def tied(m: Any, ids: Tensor) -> Tensor:
    return functional.linear(functional.embedding(ids, m.w), m.w)


def tied_and_added(m: Any, ids: Tensor) -> Tensor:
    return tied(m, ids) + (ids[..., None] * m.w[:, 0]) * 0.1


def twice(m: Any, x: Tensor) -> Tensor:
    return functional.linear(torch.tanh(functional.linear(x, m.w)), m.w)


class First(nn.Module):  # type: ignore[misc]
    """The first result of a module."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs)[0]


def recurrent() -> nn.Module:
    return nn.Sequential(nn.Linear(9, 8), First(nn.RNN(8, 8, batch_first=True)))


def weight_norm() -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Linear(9, 8))


POSITIONS = {
    "linear_by_gram": Positions(lambda: nn.Linear(64, 64), (4, 64)),
    "linear_formed": Positions(lambda: nn.Linear(8, 9), (64, 8)),
    "linear_of_many_positions": Positions(lambda: nn.Linear(4, 3), (3000, 4)),
    "addmm": Positions(model(by_rows, w=weights(48, 40), b=weights(40)), (4, 48)),
    "right_product": Positions(model(lambda m, x: x @ m.w, w=weights(48, 40)), (4, 48)),
    "left_product": Positions(
        model(lambda m, x: m.w @ x, w=weights(40, 48)), (48, 4), axis=1, result=1
    ),
    "einsum": Positions(
        model(lambda m, x: torch.einsum("nti,oi->nto", x, m.w), w=weights(9, 16)), (8, 16)
    ),
    "stack": Positions(
        model(lambda m, x: x @ m.w, w=weights(3, 16, 8)), (3, 10, 16), axis=1, result=1
    ),
    "conv1d_formed": Positions(lambda: nn.Conv1d(24, 8, 3), (24, 40), axis=1, result=1),
    "conv1d_of_small_patches": Positions(lambda: nn.Conv1d(4, 8, 3), (4, 40), axis=1, result=1),
    "conv2d_by_gram": Positions(
        lambda: nn.Conv2d(64, 64, 3), (64, 4, 4), axis=1, result=1, count=2
    ),
    "conv2d_formed": Positions(
        lambda: nn.Conv2d(16, 8, 3), (16, 12, 12), axis=1, result=1, count=2
    ),
    "conv2d_of_groups": Positions(
        lambda: nn.Conv2d(16, 8, 3, groups=4), (16, 12, 12), axis=1, result=1, count=2
    ),
    "conv1d_transposed": Positions(
        lambda: nn.ConvTranspose1d(12, 8, 3), (12, 20), axis=1, result=1
    ),
    "embedding": Positions(lambda: nn.Embedding(30, 16), (8,), words=30),
    "embedding_of_many_positions": Positions(lambda: nn.Embedding(5, 4), (3000,), words=5),
    "tied": Positions(model(tied, w=weights(60, 40)), (4,), words=60),
    "tied_and_added": Positions(model(tied_and_added, w=weights(12, 8)), (6,), words=12),
    "used_twice": Positions(model(twice, w=weights(32, 32)), (4, 32)),
    "halves": Positions(model(halves, w=weights(14, 16)), (6, 16)),
    "weight_norm": Positions(weight_norm, (12, 9)),
    "layer_norm": Positions(lambda: nn.LayerNorm(16), (8, 16)),
    "group_norm": Positions(lambda: nn.GroupNorm(2, 8), (8, 12), axis=1, result=1),
    "added": Positions(model(lambda m, x: x + m.w, w=weights(16)), (8, 16)),
    "bilinear": Positions(model(lambda m, x: m.b(x, x), b=lambda: nn.Bilinear(6, 6, 4)), (8, 6)),
    "rnn": Positions(recurrent, (6, 9)),
}
