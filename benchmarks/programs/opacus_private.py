"""Opacus: a whole private step, by per-example gradients or ghost clipping; noise and SGD included.

Minibatches are of equal size, so its work is that of Poisson sampling on average; its accountant
is left out. Noise is Opacus's default: normal numbers in floating point, from PyTorch's generator.
"""

from importlib.metadata import version
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
    GradSampleModuleFastGradientClipping,
)
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import nn

from benchmarks.bursts import Bursts, serve
from benchmarks.modules.programs.arguments import clock
from benchmarks.programs.arguments import parse
from benchmarks.programs.torch_model import minibatches, module
from benchmarks.workloads import CLIP_NORM, LEARNING_RATE, MOMENTUM, NOISE_MULTIPLIER


def main() -> None:
    """Run bursts until stdin ends."""
    workload, threads, method = parse(("hooks", "ghost"))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    loss: Any = nn.CrossEntropyLoss()
    network = module(workload)
    if method == "hooks":
        model: Any = GradSampleModule(network)
    else:
        model = GradSampleModuleFastGradientClipping(network, max_grad_norm=CLIP_NORM)
    private = DPOptimizer if method == "hooks" else DPOptimizerFastGradientClipping
    optimizer = private(
        torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM),
        noise_multiplier=NOISE_MULTIPLIER,
        max_grad_norm=CLIP_NORM,
        expected_batch_size=workload.batch_size,
    )
    if method == "ghost":
        loss = DPLossFastGradientClipping(model, optimizer, loss)
    gather = minibatches(workload)

    def step() -> None:
        inputs, targets = gather()
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        optimizer.step()

    serve(Bursts(step, clock=clock(threads)).run, {"opacus": version("opacus")})


if __name__ == "__main__":
    main()
