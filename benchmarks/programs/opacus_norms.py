"""Opacus: the mean gradient and every example's norm, by per-example gradients or ghost norms.

`ghost` is one backward pass: its norms are there then, and the mean gradient is autograd's own.
(Training with clipping needs a second pass; nobody clips here.)
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
    GradSampleModuleFastGradientClipping,
)
from torch import nn

from benchmarks.bursts import Bursts, serve
from benchmarks.programs.arguments import parse
from benchmarks.programs.torch_model import minibatches, module


def main() -> None:
    workload, threads, method = parse(("grad_sample", "ghost"))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = module(workload)
    if method == "ghost":
        model: Any = GradSampleModuleFastGradientClipping(network, max_grad_norm=1.0)
        norms: Callable[[], Any] = model.get_norm_sample
    else:
        model = GradSampleModule(network)

        def norms() -> Any:
            # ‖g_n‖, (N,), as in Opacus's own optimizer: by parameter first, then over those.
            by_parameter = [p.grad_sample.flatten(1).norm(2, dim=1) for p in model.parameters()]
            return torch.stack(by_parameter, dim=1).norm(2, dim=1)

    gather, loss = minibatches(workload), nn.CrossEntropyLoss()

    def forget() -> None:
        for parameter in model.parameters():
            parameter.grad = parameter.grad_sample = None

    def step() -> Any:
        inputs, targets = gather()
        forget()
        loss(model(inputs), targets).backward()
        return norms()

    serve(Bursts(step, forget=forget).run, {"opacus": version("opacus")})


if __name__ == "__main__":
    main()
