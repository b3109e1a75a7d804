"""The task of a PyTorch module: its outputs, and a loss for each example."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

Arrays = Mapping[str, Tensor]
"""Tensors (n, …) of n examples, by the names of the dataset's arrays."""


@dataclass(frozen=True)
class Task:
    """What a job trains: a module, its outputs for a batch, and each example's loss.

    `outputs(module, batch)` gives a tensor (n, …); `losses(outputs, batch)` gives (n,), one loss
    for each example, not their mean. They are apart, because the shortcuts start at the outputs.
    `correct(outputs, batch)` gives (n,), the share of right answers of each example, from 0 to 1.
    `weights(batch)` gives (n,), by which the examples' own weights are multiplied: the number of
    an example's tokens, so that a weighted mean of examples is a mean over all tokens.

    The shortcut mean_example needs both of these. `targets(batch)` gives what `losses` compares the
    outputs with: numbers (n, …), or classes (n, …) as integers, of which a negative one is none.
    `mean_losses(outputs, means)` gives (1,), the loss of the mean example, from its outputs (1, …)
    and the weighted mean of the targets: of numbers (1, …), of classes the mean of their one-hot
    rows (1, …, C), where C is the length of the last axis of the outputs and none has zeros.
    """

    module: nn.Module
    outputs: Callable[[nn.Module, Arrays], Tensor]
    losses: Callable[[Tensor, Arrays], Tensor]
    correct: Callable[[Tensor, Arrays], Tensor] | None = None
    weights: Callable[[Arrays], Tensor] | None = None
    targets: Callable[[Arrays], Tensor] | None = None
    mean_losses: Callable[[Tensor, Tensor], Tensor] | None = None
