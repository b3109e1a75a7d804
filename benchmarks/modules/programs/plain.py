"""Plain PyTorch: `loss.mean().backward()` alone, with AdamW, or row by row with every norm."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.bursts import Bursts, serve
from benchmarks.memory import start_peak
from benchmarks.modules.models import losses, minibatches, module
from benchmarks.modules.programs.arguments import clock, parse
from benchmarks.modules.workloads import LEARNING_RATE


def main() -> None:
    """Run bursts until stdin ends."""
    workload, threads, method = parse(("backward", "train", "loop"))
    torch.set_num_threads(threads)
    model, gather = module(workload), minibatches(workload)
    parameters = list(model.parameters())
    update: Callable[[], Any] = lambda: None  # noqa: E731
    if method == "train":
        update = torch.optim.AdamW(parameters, lr=LEARNING_RATE).step

    def forget() -> None:
        for each in parameters:
            each.grad = None

    def step() -> None:
        inputs, targets = gather()
        forget()
        losses(model(inputs), targets).mean().backward()
        update()

    def loop() -> tuple[list[Tensor], Tensor]:
        """Σ g_n by parameter, and ‖g_n‖ (n,)."""
        inputs, targets = gather()
        total, norms = [torch.zeros_like(each) for each in parameters], []
        for n in range(len(inputs)):
            loss = losses(model(inputs[n : n + 1]), targets[n : n + 1]).sum()
            own = torch.autograd.grad(loss, parameters)
            norms.append(torch.stack([each.norm() for each in own]).norm())
            torch._foreach_add_(total, own)
        return total, torch.stack(norms)

    chosen: Callable[[], Any] = loop if method == "loop" else step
    serve(
        Bursts(chosen, forget=forget, clock=clock(threads)).run,
        {"torch": torch.__version__},
        base_bytes=start_peak(),
    )


if __name__ == "__main__":
    main()
