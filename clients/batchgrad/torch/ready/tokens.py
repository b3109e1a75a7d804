"""The tasks of tokens: the next one of a language model, and a class for each position."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.errors import InvalidArgument
from batchgrad.parsing import arguments
from batchgrad.torch.ready.checks import check_module, check_name, check_share, known_classes
from batchgrad.torch.ready.forward import Forward, array
from batchgrad.torch.tasks import Arrays, Task

IGNORED = -100
"""The label of a position that has none, as in PyTorch."""


def causal_language_model(
    module: nn.Module,
    input_ids: str = "input_ids",
    labels: str | None = None,
    attention_mask: str = "attention_mask",
    *,
    shift: bool = True,
    label_smoothing: float = 0.0,
) -> Task:
    """The task of a module that gives logits of the next token at each position: (n, T, V).

    The label of position t is token t + 1 of `labels`, or of `input_ids` without labels, as in
    Hugging Face's models; with `shift` false it is number t: then labels are the next tokens.
    A label of −100, or where the array `attention_mask` has 0, if the dataset has that array,
    counts nowhere. The module gets the mask if its forward method has a parameter of that name.

    An example's loss is the mean over its labels; its weight is their number, so that the loss of a
    batch is the mean over its tokens. An example without a label has loss 0 and weight 0. The share
    of right tokens is its accuracy. `Forward` says how the module is called.

    Raises:
        InvalidArgument: an argument is not valid; when it runs, shapes do not match.
    """
    check_module(module)
    ids = check_name("input_ids", input_ids)
    name = ids if labels is None else check_name("labels", labels)
    if not arguments.truth("shift", shift) and labels is None:
        raise InvalidArgument(
            "shift is False, but there are no labels: the label of a token would be itself. Name "
            "the array of the next tokens: labels='targets'."
        )
    losses = TokenLosses(
        name,
        check_name("attention_mask", attention_mask),
        shift,
        check_share("label_smoothing", label_smoothing),
    )
    return _task(module, Forward(ids, "" if labels is None else name, ids=True), losses)


def token_classification(
    module: nn.Module,
    inputs: str = "input_ids",
    labels: str = "labels",
    attention_mask: str = "attention_mask",
    *,
    class_axis: int = -1,
    label_smoothing: float = 0.0,
) -> Task:
    """The task of a module that gives a logit for each class at each position: (n, T, C).

    The array `labels` holds the positions' classes, (n, T). It may have more axes, as of pictures:
    outputs (n, C, H, W) with `class_axis` 1, and labels (n, H, W). What is ignored, and the losses,
    weights and accuracies, are as for `causal_language_model`, without a shift.

    Raises:
        InvalidArgument: an argument is not valid; when it runs, shapes do not match.
    """
    check_module(module)
    if class_axis not in {1, -1}:
        raise InvalidArgument(f"class_axis is {class_axis!r:.60}; expected 1 or -1.")
    losses = TokenLosses(
        check_name("labels", labels),
        check_name("attention_mask", attention_mask),
        shift=False,
        label_smoothing=check_share("label_smoothing", label_smoothing),
    )
    forward = Forward(check_name("inputs", inputs), losses.labels, class_axis == -1, class_axis)
    return _task(module, forward, losses)


def _task(module: nn.Module, forward: Forward, losses: "TokenLosses") -> Task:
    return Task(
        module,
        forward,
        losses,
        losses.correct,
        losses.weights,
        targets=losses.compared,
        mean_losses=losses.means,
    )


@dataclass(frozen=True)
class TokenLosses:
    """The mean cross-entropy over the labels of an example: logits (n, T, V), labels (n, T)."""

    labels: str
    attention_mask: str
    shift: bool
    label_smoothing: float = 0.0

    def __call__(self, outputs: Tensor, batch: Arrays) -> Tensor:
        """Losses (n,)."""
        wanted = self.compared(batch)
        if outputs.shape[:-1] != wanted.shape:
            raise InvalidArgument(
                f"The module's outputs have shape {list(outputs.shape)}, {self.labels} has "
                f"{list(wanted.shape)}; expected a logit for each class at each label, "
                f"{[*wanted.shape, 'C']}."
            )
        with known_classes(self.labels, outputs):
            rows = functional.cross_entropy(
                outputs.flatten(0, -2),
                wanted.flatten(),
                reduction="none",
                ignore_index=IGNORED,
                label_smoothing=self.label_smoothing,
            )
        return rows.reshape(len(wanted), -1).sum(1) / _counts(wanted).clamp(min=1)

    def means(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Losses (n,) for the means of one-hot labels (n, T, C), of which ignored ones have 0."""
        wanted = wanted.to(outputs.dtype)
        share = self.label_smoothing / wanted.shape[-1]
        smooth = (1 - self.label_smoothing) * wanted + share * wanted.sum(-1, keepdim=True)
        rows = -(smooth * outputs.log_softmax(-1)).reshape(len(wanted), -1).sum(1)
        total = wanted.reshape(len(wanted), -1).sum(1)
        return rows / torch.where(total > 0, total, 1.0)

    def compared(self, batch: Arrays) -> Tensor:
        """Labels (n, T) as int64, one for each position of the outputs; −100 for none."""
        found = array(batch, self.labels).to(torch.int64)
        if self.attention_mask in batch:
            mask = batch[self.attention_mask]
            if mask.shape != found.shape:
                raise InvalidArgument(
                    f"{self.attention_mask} has shape {list(mask.shape)}, {self.labels} has "
                    f"{list(found.shape)}; expected the same."
                )
            found = torch.where(mask != 0, found, IGNORED)
        if self.shift:
            found = torch.cat([found[:, 1:], torch.full_like(found[:, :1], IGNORED)], 1)
        return found

    def weights(self, batch: Arrays) -> Tensor:
        """The number of labels of each example, (n,)."""
        return _counts(self.compared(batch))

    def correct(self, outputs: Tensor, batch: Arrays) -> Tensor:
        """The share of labels that have the largest output, (n,); 0 without a label."""
        wanted = self.compared(batch)
        right = (outputs.argmax(-1) == wanted).reshape(len(wanted), -1).sum(1)
        return right.to(outputs.dtype) / _counts(wanted).clamp(min=1)


def _counts(labels: Tensor) -> Tensor:
    return (labels != IGNORED).reshape(len(labels), -1).sum(1)
