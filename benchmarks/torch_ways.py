"""`python -m benchmarks.torch_ways`: per-example figures of PyTorch modules, and a backward pass.

One thread. The ways alternate, and each ratio is the median over the rounds of a way's time to that
of `loss.mean().backward()` in the same round. Options: names of models, and the number of rounds.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from batchgrad.torch.tasks import Task
from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows
from batchgrad_workers.runtime.threads import keep_freed_memory
from batchgrad_workers.torch import one_by_one, together
from batchgrad_workers.torch.clipping import Clipper
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.trainable import layout_of
from benchmarks.modules.models import losses, module, tensors
from benchmarks.modules.workloads import WORKLOADS, ModuleWorkload

ROUNDS = 25


def prepared(workload: ModuleWorkload) -> tuple[Replica, Batch]:
    """The workload's module, and its first minibatch."""
    task = Task(
        module(workload),
        lambda module, batch: module(batch["inputs"]),
        lambda outputs, batch: losses(outputs, batch["targets"]),
    )
    n = workload.batch_size
    inputs, targets = (each[:n] for each in tensors(workload))
    return Replica(task), Batch({"inputs": inputs, "targets": targets}, torch.ones(n))


def ways(replica: Replica, batch: Batch) -> dict[str, Callable[[], object]]:
    """What is measured, the plain backward pass first."""
    trace = together.trace(replica, batch)
    weighted = Batch(batch.arrays, torch.rand(len(batch)))
    limit = float(together.sums(replica, batch, trace).norms.median())
    clipper = Clipper(trace, layout_of(replica), ClippingRule("flat", limit))
    rows = PrivateRows(np.ones(len(batch)))
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
        "clipped": lambda: clipper.sums(replica, batch, rows),
        "one by one": lambda: one_by_one.sums(replica, batch),
    }


def measure(workload: ModuleWorkload, rounds: int) -> None:
    """Print a module's time of a plain backward pass, and the other ways' ratios to it."""
    torch.manual_seed(0)
    replica, batch = prepared(workload)
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
    print(f"{workload.title}: plain {plain * 1e3:.1f} ms")
    for way, own in times.items():
        pairs = zip(own, times["plain"], strict=False)
        ratios = [each / base for each, base in pairs]
        if way == "one by one":
            ratios = [each / plain for each in own]
        print(
            f"  {way:18} {statistics.median(ratios):5.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def main() -> None:
    """Measure the models named on the command line, or all."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as workers do
    numbers = [int(each) for each in sys.argv[1:] if each.isdigit()]
    named = [each for each in sys.argv[1:] if not each.isdigit()]
    for name, workload in WORKLOADS.items():
        if not named or any(each in name for each in named):
            measure(workload, numbers[0] if numbers else ROUNDS)


if __name__ == "__main__":
    main()
