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
    """

    module: nn.Module
    outputs: Callable[[nn.Module, Arrays], Tensor]
    losses: Callable[[Tensor, Arrays], Tensor]
    correct: Callable[[Tensor, Arrays], Tensor] | None = None
    weights: Callable[[Arrays], Tensor] | None = None
