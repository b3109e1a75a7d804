"""The task of a regression, and of probabilities: a number for each output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from batchgrad.errors import InvalidArgument
from batchgrad.torch.ready.checks import check_module, check_name
from batchgrad.torch.ready.forward import Forward, array
from batchgrad.torch.tasks import Arrays, Task

ValueLoss = Literal["squared_error", "absolute_error", "huber", "sigmoid_cross_entropy"]
Reduction = Literal["sum", "mean"]

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "squared_error": functional.mse_loss,
    "absolute_error": functional.l1_loss,
    "huber": functional.huber_loss,
    "sigmoid_cross_entropy": functional.binary_cross_entropy_with_logits,
}
"""The loss of each output, by batchgrad's name; huber with δ = 1."""


def regression(
    module: nn.Module,
    inputs: str = "inputs",
    targets: str = "targets",
    *,
    loss: ValueLoss = "squared_error",
    reduction: Reduction = "sum",
) -> Task:
    """The task of a module that gives a number for each target: outputs and targets (n, …).

    An example's loss is the sum over its outputs, as in a spec, or their mean, as PyTorch's losses
    have it: of (f − y)² for squared_error, |f − y| for absolute_error, ½ r² where |r| ≤ 1, else
    |r| − ½, with r = f − y, for huber, and log(1 + e^f) − y f for sigmoid_cross_entropy, whose
    outputs are logits and whose targets are from 0 to 1. Targets (n,) go with outputs (n, 1) too.
    `Forward` says how the module is called.

    Raises:
        InvalidArgument: an argument is not valid; when it runs, shapes do not match.
    """
    check_module(module)
    _check_one_of("loss", loss, tuple(FUNCTIONS))
    _check_one_of("reduction", reduction, ("sum", "mean"))
    forward = Forward(check_name("inputs", inputs), check_name("targets", targets))
    losses = ValueLosses(forward.targets, loss, reduction)
    right = losses.correct if loss == "sigmoid_cross_entropy" else None
    return Task(module, forward, losses, right, targets=losses.compared, mean_losses=losses.means)


@dataclass(frozen=True)
class ValueLosses:
    """The loss of outputs and the array `targets`, (n, …), summed or averaged by example."""

    targets: str
    loss: ValueLoss
    reduction: Reduction = "sum"

    def __call__(self, outputs: Tensor, batch: Arrays) -> Tensor:
        """Losses (n,)."""
        return self.means(outputs, self.compared(batch))

    def means(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Losses (n,) for targets (n, …)."""
        rows = FUNCTIONS[self.loss](outputs, self._shaped(outputs, wanted), reduction="none")
        rows = rows.reshape(len(rows), -1)
        return rows.sum(1) if self.reduction == "sum" else rows.mean(1)

    def compared(self, batch: Arrays) -> Tensor:
        """Targets (n, …) as floating point numbers."""
        wanted = array(batch, self.targets)
        return wanted if wanted.is_floating_point() else wanted.double()

    def correct(self, outputs: Tensor, batch: Arrays) -> Tensor:
        """1.0 for an example all of whose outputs are on the right side, else 0.0: (n,)."""
        sides = (outputs > 0) == (self._shaped(outputs, self.compared(batch)) > 0.5)
        return sides.reshape(len(sides), -1).all(1).to(outputs.dtype)

    def _shaped(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Targets in the shape and dtype of the outputs: (n,) and (n, 1) are the same."""
        n, shape = len(wanted), list(outputs.shape)
        alike = outputs.shape == wanted.shape
        if not alike and {outputs.shape, wanted.shape} != {(n,), (n, 1)}:
            raise InvalidArgument(
                f"The module's outputs have shape {shape}, {self.targets} has {list(wanted.shape)};"
                " expected the same shape, a number for each output."
            )
        return wanted.reshape(outputs.shape).to(outputs.dtype)


def _check_one_of(argument: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidArgument(f"{argument} is {value!r:.60}; expected one of {', '.join(known)}.")
