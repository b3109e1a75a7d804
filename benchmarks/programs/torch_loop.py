"""The plain PyTorch loop: gather, forward, backward, SGD with momentum."""

import torch
from torch import nn

from benchmarks.bursts import Bursts, serve
from benchmarks.programs.arguments import parse
from benchmarks.programs.torch_model import minibatches, module
from benchmarks.workloads import LEARNING_RATE, MOMENTUM


def main() -> None:
    """Run bursts of training steps until stdin ends."""
    workload, threads, _ = parse()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, gather = module(workload), minibatches(workload)
    loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)

    def step() -> None:
        inputs, targets = gather()
        optimizer.zero_grad(set_to_none=True)
        loss(model(inputs), targets).backward()
        optimizer.step()

    serve(Bursts(step).run, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
