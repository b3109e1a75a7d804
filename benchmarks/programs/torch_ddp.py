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


Join = Callable[[int], Callable[[], None]]
"""Joins the process group as a rank, and returns a function that does one step on its rows."""


def main() -> None:
    """Run rank 0, or another rank if the environment sets one."""
    workload, threads, _ = parse()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    run("benchmarks.programs.torch_ddp", lambda rank: _join(workload, rank))


def run(program: str, join: Join) -> None:
    """Run rank 0, or another rank if the environment sets one, of a program by its module."""
    if "RANK" in os.environ:
        step = join(int(os.environ["RANK"]))
        for line in sys.stdin:
            for _ in range(int(line)):
                step()
    else:
        _lead(program, join)
    distributed.destroy_process_group()


def _lead(program: str, join: Join) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(RANKS)}
    with subprocess.Popen(
        [sys.executable, "-m", program, *sys.argv[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "RANK": "1"},
        text=True,
        bufsize=1,
    ) as follower:
        os.environ["RANK"] = "0"
        step = join(0)
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
    """Join as a rank; return a function that does one step on its rows."""
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
