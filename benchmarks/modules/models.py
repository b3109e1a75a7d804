"""The modules of the workloads, with losses and minibatches. Imports torch and numpy only."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.modules.workloads import CLASSES, VOCABULARY, ModuleWorkload, data
from benchmarks.workloads import Minibatches


class Block(nn.Module):  # type: ignore[misc]
    """Causal attention and a perceptron, each after a LayerNorm and beside a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // 32
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, T, width)."""
        n, positions, width = x.shape
        parts = self.qkv(self.before(x)).view(n, positions, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, positions, width))
        return x + self.down(functional.gelu(self.up(self.between(x))))


class GPT(nn.Module):  # type: ignore[misc]
    """Blocks between an embedding and a head that share their weight; places are a parameter."""

    def __init__(self, layers: int, width: int, positions: int) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width)
        self.places = nn.Parameter(torch.randn(positions, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(layers)))
        self.last = nn.LayerNorm(width)

    def forward(self, ids: Tensor) -> Tensor:
        """(n, T, vocabulary)."""
        x = self.blocks(self.words(ids) + self.places)
        return functional.linear(self.last(x), self.words.weight)


class UntiedGPT(GPT):
    """The same in the form that hooks on modules need: a head and places of their own modules.

    Opacus's hooks see no bare parameter, and its ghost clipping refuses shared ones, and ids that
    are not contiguous.
    """

    def __init__(self, layers: int, width: int, positions: int) -> None:
        super().__init__(layers, width, positions)
        del self.places
        self.places = nn.Embedding(positions, width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """(n, T, vocabulary)."""
        places = torch.arange(ids.shape[1]).expand(ids.shape).contiguous()
        return self.head(self.last(self.blocks(self.words(ids) + self.places(places))))


def module(workload: ModuleWorkload, *, untied: bool = False) -> Any:
    """The workload's module, with the same values in every process; `untied`: for hooks."""
    torch.manual_seed(0)
    match workload.kind:
        case "gpt":
            layers, width, positions = workload.sizes
            return (UntiedGPT if untied else GPT)(layers, width, positions)
        case "mlp":
            return _perceptron(workload.sizes)
        case _:
            return _convolutions(workload.sizes[1:])


def losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each example (n,), the mean over its positions if it has several."""
    found = functional.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none")
    return found.view(len(targets), -1).mean(1)


def tensors(workload: ModuleWorkload) -> tuple[Tensor, Tensor]:
    """Inputs and targets."""
    inputs, targets = (torch.from_numpy(each) for each in data(workload).values())
    return inputs, targets


def minibatches(workload: ModuleWorkload) -> Callable[[], tuple[Tensor, Tensor]]:
    """A function that gathers the next minibatch's rows."""
    inputs, targets = tensors(workload)
    order = Minibatches(workload, len(inputs))

    def gather() -> tuple[Tensor, Tensor]:
        ids = torch.from_numpy(order.next())
        return inputs[ids], targets[ids]

    return gather


def _perceptron(widths: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = []
    for width, out in itertools.pairwise(widths):
        layers += [nn.Linear(width, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _convolutions(channels: tuple[int, ...]) -> nn.Module:
    """3×3 convolutions, each with a GroupNorm; from the third on every one halves the image."""
    layers: list[nn.Module] = []
    for number, (width, out) in enumerate(itertools.pairwise(channels)):
        stride = 1 if number < 2 else 2
        layers += [nn.Conv2d(width, out, 3, stride, 1), nn.GroupNorm(8, out), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], CLASSES)]
    return nn.Sequential(*layers, *head)
