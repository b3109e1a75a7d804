"""The losses: formula, targets, and what is known of outputs. Workers have the functions."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

__all__ = ["LOSSES", "Loss", "LossKind", "TargetKind"]

Loss = Literal[
    "squared_error",
    "absolute_error",
    "huber",
    "linear_error",
    "softmax_cross_entropy",
    "sigmoid_cross_entropy",
]
TargetKind = Literal["class", "value", "probability"]
"""A class is one integer for each example, (n,); else a number for each output, (n, outputs)."""


@dataclass(frozen=True)
class LossKind:
    """A loss, as help, checks and pages need it.

    `formula` is for one example with outputs f and targets y; Σ runs over its outputs.
    `target_range` has the lowest and the highest target. `link` makes probabilities of outputs,
    which are then logits. `right` says when an example counts as right; "" if there is no accuracy.
    """

    formula: str
    target_kind: TargetKind
    target_range: tuple[float, float] = (-inf, inf)
    link: Literal["softmax", "sigmoid"] | None = None
    right: str = ""
    has_minimum: bool = True

    @property
    def targets(self) -> str:
        """Kind and range of targets, in words."""
        low, high = self.target_range
        name = {"class": "classes", "value": "numbers", "probability": "probabilities"}
        if isfinite(low) and isfinite(high):
            return f"{name[self.target_kind]}, {low:g} to {high:g}"
        if isfinite(low) or isfinite(high):
            bound = f"at least {low:g}" if isfinite(low) else f"at most {high:g}"
            return f"{name[self.target_kind]}, {bound}"
        return name[self.target_kind]

    @property
    def is_bounded(self) -> bool:
        """Whether some numbers are no targets."""
        return any(map(isfinite, self.target_range))

    @property
    def target_shape(self) -> str:
        """Shape of the targets of n examples."""
        return "(n,)" if self.target_kind == "class" else "(n, outputs)"


LOSSES: dict[Loss, LossKind] = {
    "squared_error": LossKind("Σ (f − y)², without a hidden ½", "value"),
    "absolute_error": LossKind("Σ |f − y|", "value"),
    "huber": LossKind("Σ of ½ r² where |r| ≤ 1, else |r| − ½, with r = f − y", "value"),
    "linear_error": LossKind(
        "Σ (y − f): has no minimum and can be negative; it teaches, it does not train",
        "value",
        has_minimum=False,
    ),
    "softmax_cross_entropy": LossKind(
        "−Σ y log softmax(f), y a class (n,) or the classes' probabilities, f the logits",
        "class",
        (0, inf),
        link="softmax",
        right="the largest output is its class",
    ),
    "sigmoid_cross_entropy": LossKind(
        "Σ log(1 + e^f) − y f, y from 0 to 1, f the logits",
        "probability",
        (0, 1),
        link="sigmoid",
        right="all its outputs are on the right side, f > 0 for y > ½",
    ),
}


def check_label_smoothing(loss: Loss, label_smoothing: float) -> None:
    """Raise ValueError if `loss` has no classes to smooth."""
    if label_smoothing and LOSSES[loss].link != "softmax":
        raise ValueError(
            f"label_smoothing is {label_smoothing}, but {loss} has no classes: remove it, or use "
            "loss: softmax_cross_entropy."
        )
