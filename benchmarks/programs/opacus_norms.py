"""Opacus: the mean gradient and every example's norm, by per-example gradients or ghost norms.

`ghost` is one backward pass: its norms are there then, and the mean gradient is autograd's own.
`ghost_loop` is ghost clipping as Opacus ships it, for its training loop: a second backward pass
gives the sum of clipped gradients, with a bound so high that nothing is clipped.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
    GradSampleModuleFastGradientClipping,
)
from opacus.optimizers import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import nn

from benchmarks.bursts import Bursts, serve
from benchmarks.programs.arguments import parse
from benchmarks.programs.torch_model import minibatches, module

NO_BOUND = 1e9


def main() -> None:
    workload, threads, method = parse(("grad_sample", "ghost", "ghost_loop"))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = module(workload)
    loss: Any = nn.CrossEntropyLoss()
    if method != "grad_sample":
        model: Any = GradSampleModuleFastGradientClipping(network, max_grad_norm=NO_BOUND)
        norms: Callable[[], Any] = model.get_norm_sample
    else:
        model = GradSampleModule(network)

        def norms() -> Any:
            # ‖g_n‖, (N,), as in Opacus's own optimizer: by parameter first, then over those.
            by_parameter = [p.grad_sample.flatten(1).norm(2, dim=1) for p in model.parameters()]
            return torch.stack(by_parameter, dim=1).norm(2, dim=1)

    if method == "ghost_loop":
        optimizer = DPOptimizerFastGradientClipping(
            torch.optim.SGD(model.parameters(), lr=0.0),
            noise_multiplier=0.0,
            max_grad_norm=NO_BOUND,
            expected_batch_size=workload.batch_size,
        )
        loss = DPLossFastGradientClipping(model, optimizer, loss)
    gather = minibatches(workload)

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
