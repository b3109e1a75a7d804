"""The task of a classification: one class, or probabilities of classes, for each example."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.errors import InvalidArgument
from batchgrad.torch.ready.checks import check_module, check_name, check_share, known_classes
from batchgrad.torch.ready.forward import Forward, array
from batchgrad.torch.tasks import Arrays, Task


def classification(
    module: nn.Module,
    inputs: str = "inputs",
    targets: str = "targets",
    *,
    label_smoothing: float = 0.0,
) -> Task:
    """The task of a module that gives a logit for each class, (n, C).

    The loss is the cross-entropy of the softmax. The array `targets` holds classes (n,) from 0 on,
    or probabilities of classes (n, C). An example is right if its largest output is its class.
    `Forward` says how the module is called.

    Raises:
        InvalidArgument: an argument is not valid; when it runs, shapes do not match.
    """
    check_module(module)
    forward = Forward(check_name("inputs", inputs), check_name("targets", targets))
    losses = ClassLosses(forward.targets, check_share("label_smoothing", label_smoothing))
    return Task(
        module, forward, losses, losses.correct, targets=losses.compared, mean_losses=losses.means
    )


@dataclass(frozen=True)
class ClassLosses:
    """−Σ y log softmax(f), (n,), of logits (n, C) and the array `targets`, (n,) or (n, C)."""

    targets: str
    label_smoothing: float = 0.0

    def __call__(self, outputs: Tensor, batch: Arrays) -> Tensor:
        """Losses (n,)."""
        wanted = self.compared(batch)
        self._check(outputs, wanted)
        return self.means(outputs, wanted)

    def means(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Losses (n,) for classes (n,) or probabilities (n, C)."""
        if wanted.is_floating_point():
            wanted = wanted.to(outputs.dtype)
        with known_classes(self.targets, outputs):
            return functional.cross_entropy(
                outputs, wanted, reduction="none", label_smoothing=self.label_smoothing
            )

    def compared(self, batch: Arrays) -> Tensor:
        """Classes (n,) as int64, or probabilities (n, C)."""
        wanted = array(batch, self.targets)
        if wanted.is_floating_point() and wanted.dim() > 1:
            return wanted
        if wanted.dim() == 2 and wanted.shape[1] == 1:
            wanted = wanted.squeeze(1)
        return wanted if wanted.is_floating_point() else wanted.to(torch.int64)

    def correct(self, outputs: Tensor, batch: Arrays) -> Tensor:
        """1.0 for an example whose largest output is its (most probable) class, else 0.0: (n,)."""
        wanted = self.compared(batch)
        if wanted.is_floating_point():
            wanted = wanted.argmax(-1)
        return (outputs.argmax(-1) == wanted).to(outputs.dtype)

    def _check(self, outputs: Tensor, wanted: Tensor) -> None:
        n = len(wanted)
        shape = list(wanted.shape)
        if outputs.dim() != 2 or len(outputs) != n:
            about = ""
            if outputs.dim() > 2:
                about = ": token_classification is for an output at each position"
            raise InvalidArgument(
                f"The module's outputs have shape {list(outputs.shape)}, for {n} examples; expected"
                f" a logit for each class, [{n}, C]{about}."
            )
        if wanted.dim() == 1 and not wanted.is_floating_point():
            return
        if wanted.is_floating_point() and wanted.shape == outputs.shape:
            return
        kind = "numbers" if wanted.is_floating_point() else "integers"
        raise InvalidArgument(
            f"{self.targets} has {kind} of shape {shape}; expected classes as integers [{n}], or "
            f"their probabilities {list(outputs.shape)}, as the outputs."
        )
