"""The task of a module with a loss by its name, a loss of torch.nn, or a function."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from batchgrad.errors import InvalidArgument
from batchgrad.parsing.suggestions import suggest
from batchgrad.torch.ready.checks import check_module, check_name
from batchgrad.torch.ready.classes import classification
from batchgrad.torch.ready.forward import Forward, array, converted
from batchgrad.torch.ready.tokens import IGNORED
from batchgrad.torch.ready.values import Reduction, ValueLoss, regression
from batchgrad.torch.tasks import Arrays, Task

CLASSES = ("softmax_cross_entropy", "cross_entropy")
VALUES: dict[str, tuple[ValueLoss, Reduction]] = {
    "squared_error": ("squared_error", "sum"),
    "absolute_error": ("absolute_error", "sum"),
    "huber": ("huber", "sum"),
    "sigmoid_cross_entropy": ("sigmoid_cross_entropy", "sum"),
    "mse": ("squared_error", "mean"),
    "mse_loss": ("squared_error", "mean"),
    "mae": ("absolute_error", "mean"),
    "l1": ("absolute_error", "mean"),
    "l1_loss": ("absolute_error", "mean"),
    "smooth_l1": ("huber", "mean"),
    "smooth_l1_loss": ("huber", "mean"),
    "huber_loss": ("huber", "mean"),
    "bce_with_logits": ("sigmoid_cross_entropy", "mean"),
    "binary_cross_entropy_with_logits": ("sigmoid_cross_entropy", "mean"),
}
"""Names of batchgrad, which sum over an example's outputs, and of PyTorch, which average."""


def task(
    module: nn.Module,
    loss: str | nn.Module | Callable[[Tensor, Tensor], Tensor],
    inputs: str = "inputs",
    targets: str = "targets",
) -> Task:
    """The task of a module with a loss for the array `targets`.

    `loss` is the name of a loss of batchgrad, such as softmax_cross_entropy or squared_error, which
    sums over an example's outputs; or of one of PyTorch, such as cross_entropy, mse or
    bce_with_logits, which averages over them. Or it is a loss of torch.nn, such as
    nn.CrossEntropyLoss(label_smoothing=0.1), which then reduces each example by itself. Or it is a
    function that takes outputs and targets of n examples and returns n losses, (n,).

    Raises:
        InvalidArgument: an argument is not valid; when it runs, the loss is not (n,).
    """
    check_module(module)
    if isinstance(loss, str):
        return _named(module, loss, inputs, targets)
    if isinstance(loss, nn.CrossEntropyLoss) and loss.reduction == "mean":
        _check_unweighted(loss)
        if loss.ignore_index != IGNORED:
            raise InvalidArgument(
                f"loss has ignore_index {loss.ignore_index}: use token_classification, and the "
                f"label {IGNORED} for what has none."
            )
        return classification(module, inputs, targets, label_smoothing=loss.label_smoothing)
    if isinstance(loss, type) and issubclass(loss, nn.Module):
        raise InvalidArgument(f"loss is the class {loss.__name__}; expected {loss.__name__}().")
    if not callable(loss):
        raise InvalidArgument(
            f"loss is {loss!r:.60}; expected a name, a loss of torch.nn or a function of outputs "
            "and targets."
        )
    forward = Forward(check_name("inputs", inputs), check_name("targets", targets))
    function = _by_example(loss) if isinstance(loss, nn.Module) else loss
    return Task(module, forward, FunctionLosses(function, forward.targets))


def _named(module: nn.Module, loss: str, inputs: str, targets: str) -> Task:
    if loss in CLASSES:
        return classification(module, inputs, targets)
    if loss in VALUES:
        kind, reduction = VALUES[loss]
        return regression(module, inputs, targets, loss=kind, reduction=reduction)
    known = [*CLASSES, *VALUES]
    meant = suggest(loss, known)
    hint = f": did you mean {meant}?" if meant else f"; expected one of {', '.join(known)}."
    raise InvalidArgument(f"loss is {loss!r:.60}{hint}")


def _check_unweighted(loss: nn.Module) -> None:
    if getattr(loss, "weight", None) is not None:
        raise InvalidArgument(
            f"{type(loss).__name__} has weights of classes, by whose sum it divides: push the "
            "dataset with weights, one for each example, instead."
        )


def _by_example(loss: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of torch.nn, or a module of the user, as a function that reduces no examples."""
    if next(loss.parameters(), None) is not None:
        raise InvalidArgument(
            f"loss, a {type(loss).__name__}, has parameters, which would not be trained: make it a "
            "part of the module, and give a batchgrad.torch.Task."
        )
    reduction = getattr(loss, "reduction", "none")
    if reduction == "none":
        return loss
    if reduction == "mean":
        _check_unweighted(loss)
    single = deepcopy(loss)
    single.reduction = "none"
    return ReducedLosses(single, mean=reduction == "mean")


@dataclass(frozen=True)
class ReducedLosses:
    """A loss of torch.nn that reduces nothing, summed or averaged over each example."""

    loss: nn.Module
    mean: bool

    def __call__(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Losses (n,)."""
        if wanted.shape != outputs.shape and wanted.numel() == outputs.numel():
            wanted = wanted.reshape(outputs.shape)
        rows = self.loss(outputs, wanted)
        if rows.dim() < 2:
            return rows
        rows = rows.flatten(1)
        return rows.mean(1) if self.mean else rows.sum(1)


@dataclass(frozen=True)
class FunctionLosses:
    """The losses that a function gives for outputs and the array `targets`, checked to be (n,)."""

    function: Callable[[Tensor, Tensor], Any]
    targets: str

    def __call__(self, outputs: Tensor, batch: Arrays) -> Tensor:
        """Losses (n,)."""
        wanted = converted(array(batch, self.targets), outputs.dtype)
        found = self.function(outputs, wanted)
        n = len(wanted)
        if isinstance(found, Tensor) and found.shape == (n,):
            return found
        about = (
            f"a tensor of shape {list(found.shape)}"
            if isinstance(found, Tensor)
            else f"a {type(found).__name__}"
        )
        remedy = "sum or average over the outputs of each example"
        if isinstance(found, Tensor) and found.dim() == 0:
            remedy = "leave out its mean over the examples (reduction='none')"
        raise InvalidArgument(
            f"The loss gave {about} for {n} examples; expected one number for each, [{n}]: "
            f"{remedy}."
        )
