"""BackPACK: the mean gradient and every example's norm, from its L2 or its gradient extension."""

from importlib.metadata import version
from typing import Any

import torch
from backpack import backpack, extend
from backpack.extensions import BatchGrad, BatchL2Grad
from torch import nn

from benchmarks.bursts import Bursts, serve
from benchmarks.programs.arguments import parse
from benchmarks.programs.torch_model import minibatches, module


def main() -> None:
    workload, threads, method = parse(("l2", "grad"))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, loss = extend(module(workload)), extend(nn.CrossEntropyLoss())
    gather, examples = minibatches(workload), workload.batch_size

    def squared(parameter: Any) -> Any:
        """‖g_n / N‖² over one parameter, (N,): BackPACK's gradients carry the mean's 1/N."""
        if method == "l2":
            return parameter.batch_l2
        return parameter.grad_batch.flatten(1).square().sum(1)

    def forget() -> None:
        for parameter in model.parameters():
            parameter.grad = None
            for name in ("batch_l2", "grad_batch"):
                if hasattr(parameter, name):
                    delattr(parameter, name)

    def step() -> Any:
        inputs, targets = gather()
        forget()
        with backpack(BatchL2Grad() if method == "l2" else BatchGrad()):
            loss(model(inputs), targets).backward()
        return sum(squared(parameter) for parameter in model.parameters()).sqrt() * examples

    serve(Bursts(step, forget=forget).run, {"backpack": version("backpack-for-pytorch")})


if __name__ == "__main__":
    main()
