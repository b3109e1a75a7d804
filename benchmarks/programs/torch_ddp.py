"""DistributedDataParallel over gloo: two processes, half of the minibatch each.

The first process starts the second and tells it over a pipe how many steps to run, so that between
bursts both sleep in a read.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.bursts import WARM_SECONDS, serve
from benchmarks.programs.arguments import parse
from benchmarks.programs.torch_model import module, tensors
from benchmarks.workloads import LEARNING_RATE, MOMENTUM, Minibatches, Workload

RANKS = 2


def main() -> None:
    """Run rank 0, or another rank if the environment sets one."""
    workload, threads, _ = parse()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if "RANK" in os.environ:
        step = _join(workload, int(os.environ["RANK"]))
        for line in sys.stdin:
            for _ in range(int(line)):
                step()
    else:
        _lead(workload)
    distributed.destroy_process_group()


def _lead(workload: Workload) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(RANKS)}
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.programs.torch_ddp", *sys.argv[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "RANK": "1"},
        text=True,
        bufsize=1,
    ) as follower:
        step = _join(workload, 0)
        pipe = follower.stdin
        assert pipe is not None  # noqa: S101  (`stdin=PIPE` above)

        def together(count: int) -> float:
            """Run `count` steps on both processes; return the seconds that they take."""
            print(count, file=pipe)
            started = perf_counter()
            for _ in range(count):
                step()
            return perf_counter() - started

        together(3)
        serve(lambda seconds: burst(together, seconds), {"torch": torch.__version__})
        pipe.close()


def burst(together: Callable[[int], float], seconds: float) -> tuple[int, float]:
    """Run steps for about `seconds`; both processes run a count that is fixed beforehand."""
    warm = 2
    took = together(warm)
    while took < min(WARM_SECONDS, seconds):
        warm *= 2
        took = together(warm)
    count = max(1, round(seconds * warm / took))
    return count, together(count)


def _join(workload: Workload, rank: int) -> Callable[[], None]:
    """Join the process group; return a function that does one step on this rank's rows."""
    os.environ["RANK"] = str(rank)
    distributed.init_process_group("gloo")
    model: Any = DistributedDataParallel(module(workload))
    inputs, targets = tensors(workload)
    order = Minibatches(workload)
    loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)

    def step() -> None:
        ids = torch.from_numpy(order.next()[rank::RANKS])
        optimizer.zero_grad(set_to_none=True)
        loss(model(inputs[ids]), targets[ids]).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
