"""torch.func: vmap(grad) over the minibatch, then the mean and every example's norm."""

from typing import Any

import torch
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from benchmarks.bursts import Bursts, serve
from benchmarks.programs.arguments import parse
from benchmarks.programs.torch_model import minibatches, module


def main() -> None:
    workload, threads, _ = parse()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, gather = module(workload), minibatches(workload)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters: Any, example: Any, target: Any) -> Any:
        outputs = functional_call(model, parameters, (example.unsqueeze(0),))
        return cross_entropy(outputs, target.unsqueeze(0))

    per_example = vmap(grad(loss), in_dims=(None, 0, 0))

    def step() -> Any:
        gradients = per_example(parameters, *gather())
        mean = {name: g.mean(0) for name, g in gradients.items()}
        squared = sum(g.flatten(1).square().sum(1) for g in gradients.values())
        return mean, squared.sqrt()

    serve(Bursts(step).run, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
