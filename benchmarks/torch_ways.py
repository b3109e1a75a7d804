"""`python -m benchmarks.torch_ways`: per-example figures of PyTorch modules, and a backward pass.

One thread. The ways alternate, and each ratio is the median over the rounds of a way's time to that
of `loss.mean().backward()` in the same round. Options: names of models, and the number of rounds.
"""

import itertools
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch.tasks import Arrays, Task
from batchgrad_workers.runtime.threads import keep_freed_memory
from batchgrad_workers.torch import one_by_one, together
from batchgrad_workers.torch.replica import Batch, Replica

ROUNDS = 25
VOCABULARY = 256


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
    """Blocks between an embedding and a head that share their weight."""

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


def words(layers: int, width: int, positions: int, n: int) -> tuple[Task, Batch]:
    """A causal language model, and tokens."""

    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        found = functional.cross_entropy(outputs.mT, batch["targets"], reduction="none")
        return found.mean(1)

    ids = torch.randint(0, VOCABULARY, (n, positions + 1))
    arrays = {"inputs": ids[:, :-1].contiguous(), "targets": ids[:, 1:].contiguous()}
    return _task(GPT(layers, width, positions), losses), Batch(arrays, torch.ones(n))


def perceptron(n: int) -> tuple[Task, Batch]:
    """784-512-512-10, and images as vectors."""
    sizes = [784, 512, 512, 10]
    layers: list[nn.Module] = []
    for width, out in itertools.pairwise(sizes):
        layers += [nn.Linear(width, out), nn.ReLU()]
    return _task(nn.Sequential(*layers[:-1]), _classes), _images(n, 784)


def convolutions(n: int) -> tuple[Task, Batch]:
    """Four convolutions of 32x32 images, each with a GroupNorm."""
    layers: list[nn.Module] = []
    for width, out, stride in [(3, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 2)]:
        layers += [nn.Conv2d(width, out, 3, stride, 1), nn.GroupNorm(8, out), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return _task(nn.Sequential(*layers, *head), _classes), _images(n, 3, 32, 32)


MODELS: dict[str, Callable[[], tuple[Task, Batch]]] = {
    "GPT 4x128, T 64, n 32": lambda: words(4, 128, 64, 32),
    "GPT 4x256, T 128, n 8": lambda: words(4, 256, 128, 8),
    "MLP 784-512-512-10, n 128": lambda: perceptron(128),
    "conv and GroupNorm 32x32, n 32": lambda: convolutions(32),
}


def _task(module: nn.Module, losses: Callable[..., Tensor]) -> Task:
    return Task(module, lambda module, batch: module(batch["inputs"]), losses)


def _classes(outputs: Tensor, batch: Arrays) -> Tensor:
    return functional.cross_entropy(outputs, batch["targets"], reduction="none")


def _images(n: int, *shape: int) -> Batch:
    arrays = {"inputs": torch.randn(n, *shape), "targets": torch.randint(0, 10, (n,))}
    return Batch(arrays, torch.ones(n))


def ways(replica: Replica, batch: Batch) -> dict[str, Callable[[], object]]:
    """What is measured, the plain backward pass first."""
    trace = together.trace(replica, batch)
    weighted = Batch(batch.arrays, torch.rand(len(batch)))
    limit = float(together.sums(replica, batch, trace).norms.median())
    parameters = list(replica.trainable.values())

    def plain() -> None:
        for each in parameters:
            each.grad = None
        replica.losses(batch).mean().backward()

    return {
        "plain": plain,
        "sum + norms": lambda: together.sums(replica, batch, trace),
        "+ means": lambda: together.sums(replica, batch, trace, means=True),
        "weighted, + means": lambda: together.sums(replica, weighted, trace, means=True),
        "clipped": lambda: together.sums(replica, batch, trace, clip=limit),
        "one by one": lambda: one_by_one.sums(replica, batch),
    }


def measure(name: str, rounds: int) -> None:
    """Print a model's time of a plain backward pass, and the other ways' ratios to it."""
    torch.manual_seed(0)
    replica, batch = _replica(*MODELS[name]())
    contestants = ways(replica, batch)
    times: dict[str, list[float]] = {way: [] for way in contestants}
    for turn in range(rounds + 3):
        for way, run in contestants.items():
            if way == "one by one" and turn % 5:
                continue
            start = time.perf_counter()
            run()
            if turn >= 3:
                times[way].append(time.perf_counter() - start)
    plain = statistics.median(times["plain"])
    print(f"{name}: plain {plain * 1e3:.1f} ms")
    for way, own in times.items():
        pairs = zip(own, times["plain"], strict=False)
        ratios = [each / base for each, base in pairs]
        if way == "one by one":
            ratios = [each / plain for each in own]
        print(
            f"  {way:18} {statistics.median(ratios):5.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def _replica(task: Task, batch: Batch) -> tuple[Replica, Batch]:
    return Replica(task), batch


def main() -> None:
    """Measure the models named on the command line, or all."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as workers do
    numbers = [int(each) for each in sys.argv[1:] if each.isdigit()]
    named = [each for each in sys.argv[1:] if not each.isdigit()]
    for name in MODELS:
        if not named or any(each in name for each in named):
            measure(name, numbers[0] if numbers else ROUNDS)


if __name__ == "__main__":
    main()
