"""Opacus: per-example gradients and norms, or ghost clipping, alone or with AdamW.

Ghost clipping is what Opacus ships, its two backward passes; without noise. The bound clips about
half of the examples at the start. A gpt is untied, see `UntiedGPT`.
"""

from importlib.metadata import version
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
    GradSampleModuleFastGradientClipping,
)
from opacus.optimizers import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import Tensor

from benchmarks.bursts import Bursts, serve
from benchmarks.memory import start_peak
from benchmarks.modules.models import losses, minibatches, module
from benchmarks.modules.programs.arguments import clock, parse
from benchmarks.modules.workloads import LEARNING_RATE


class Criterion:
    """The losses with the attribute that Opacus switches."""

    reduction = "mean"

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(n,), or their mean."""
        found = losses(outputs, targets)
        return found if self.reduction == "none" else found.mean()


def main() -> None:
    """Run bursts until stdin ends."""
    workload, threads, method = parse(("grad_sample", "ghost", "train"))
    torch.set_num_threads(threads)
    network, gather = module(workload, untied=True), minibatches(workload)
    loss: Any = Criterion()
    if method == "grad_sample":
        model: Any = GradSampleModule(network)
    else:
        model = GradSampleModuleFastGradientClipping(network, max_grad_norm=1.0)
    parameters = list(model.parameters())
    if method != "grad_sample":
        optimizer = DPOptimizerFastGradientClipping(
            torch.optim.AdamW(parameters, lr=LEARNING_RATE),
            noise_multiplier=0.0,
            max_grad_norm=1.0,
            expected_batch_size=workload.batch_size,
        )
        loss = DPLossFastGradientClipping(model, optimizer, loss)

    def forget() -> None:
        for each in parameters:
            each.grad = each.grad_sample = None

    def step() -> Any:
        inputs, targets = gather()
        forget()
        loss(model(inputs), targets).backward()
        if method == "train":
            optimizer.step()
        if method != "grad_sample":
            return model.get_norm_sample()
        by_parameter = [each.grad_sample.flatten(1).norm(2, dim=1) for each in parameters]
        return torch.stack(by_parameter, dim=1).norm(2, dim=1)

    serve(
        Bursts(step, forget=forget, clock=clock(threads)).run,
        {"opacus": version("opacus")},
        base_bytes=start_peak(),
    )


if __name__ == "__main__":
    main()
