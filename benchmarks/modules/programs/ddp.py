"""DistributedDataParallel over gloo with AdamW: two processes, half of the minibatch each."""

from collections.abc import Callable
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from benchmarks.modules.models import losses, module, tensors
from benchmarks.modules.programs.arguments import parse
from benchmarks.modules.workloads import EXAMPLES, LEARNING_RATE
from benchmarks.programs.torch_ddp import RANKS, run
from benchmarks.workloads import Minibatches


def main() -> None:
    """Run rank 0, or another rank if the environment sets one."""
    workload, threads, _ = parse()
    torch.set_num_threads(threads)

    def join(rank: int) -> Callable[[], None]:
        """Join the process group; return a function that does one step on this rank's rows."""
        distributed.init_process_group("gloo")
        model: Any = DistributedDataParallel(module(workload))
        inputs, targets = tensors(workload)
        order = Minibatches(workload, EXAMPLES)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)

        def step() -> None:
            ids = torch.from_numpy(order.next()[rank::RANKS])
            optimizer.zero_grad(set_to_none=True)
            losses(model(inputs[ids]), targets[ids]).mean().backward()
            optimizer.step()

        return step

    run("benchmarks.modules.programs.ddp", join)


if __name__ == "__main__":
    main()
