"""torch.func: vmap(grad) over the minibatch, then the mean and every example's norm."""

from typing import Any

import torch
from torch.func import functional_call, grad, vmap

from benchmarks.bursts import Bursts, serve
from benchmarks.memory import start_peak
from benchmarks.modules.models import losses, minibatches, module
from benchmarks.modules.programs.arguments import clock, parse


def main() -> None:
    """Run bursts until stdin ends."""
    workload, threads, _ = parse()
    torch.set_num_threads(threads)
    model, gather = module(workload), minibatches(workload)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters: Any, example: Any, target: Any) -> Any:
        outputs = functional_call(model, parameters, (example[None],))
        return losses(outputs, target[None]).sum()

    per_example = vmap(grad(loss), in_dims=(None, 0, 0))

    def step() -> Any:
        gradients = per_example(parameters, *gather())
        mean = {name: g.mean(0) for name, g in gradients.items()}
        squared = sum(g.flatten(1).square().sum(1) for g in gradients.values())
        return mean, squared.sqrt()

    serve(
        Bursts(step, clock=clock(threads)).run,
        {"torch": torch.__version__},
        base_bytes=start_peak(),
    )


if __name__ == "__main__":
    main()
