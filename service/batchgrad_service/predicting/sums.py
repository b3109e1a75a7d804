"""Sums over batches of examples from which an evaluation's figures follow, in little memory."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from batchgrad_engine.training.regression import r2_and_rmse
from batchgrad_workers.arrays import Array, Floats, Integers

MOST_NUMBERS = 2**24
"""Most probabilities that are kept for the AUC: 128 MB."""

MOST_CLASSES = 1000
"""A confusion matrix of more would have millions of numbers."""


@dataclass
class Losses:
    """Weighted losses, and right answers, which count every example equally."""

    weighted: float = 0.0
    weight: float = 0.0
    right: int = 0
    rows: int = 0

    def add(self, losses: Array, weights: Floats, right: int) -> None:
        """Add examples: losses (n,), weights (n,)."""
        self.weighted += float(weights @ losses.astype(np.float64))
        self.weight += float(weights.sum())
        self.right += right
        self.rows += len(losses)

    @property
    def mean(self) -> float | None:
        """The weighted mean; None if it is not finite."""
        mean = self.weighted / self.weight
        return mean if isfinite(mean) else None


@dataclass
class ClassSums:
    """True and predicted classes; `names` has one for each class."""

    names: list[str]
    counts: Integers = field(init=False)
    right: Integers = field(init=False)
    confusion: Integers | None = field(init=False)
    kept: list[tuple[Integers, Floats]] = field(default_factory=list)
    numbers: int = 0

    def __post_init__(self) -> None:
        classes = len(self.names)
        self.counts, self.right = np.zeros((2, classes), np.int64)
        few = classes <= MOST_CLASSES
        self.confusion = np.zeros((classes, classes), np.int64) if few else None

    def add(self, targets: Integers, predicted: Integers, probabilities: Floats) -> None:
        """Add examples: classes (n,), predicted classes (n,), probabilities (n, classes)."""
        classes = len(self.names)
        self.counts += np.bincount(targets, minlength=classes)
        self.right += np.bincount(targets[targets == predicted], minlength=classes)
        if self.confusion is not None:
            pairs = np.bincount(targets * classes + predicted, minlength=classes * classes)
            self.confusion += pairs.reshape(classes, classes)
        self.numbers += probabilities.size
        if self.numbers <= MOST_NUMBERS:
            self.kept.append((targets, probabilities))
        else:
            self.kept.clear()

    @property
    def figures(self) -> dict[str, Any]:
        """Balanced accuracy, the mean recall of the classes that have examples; and others."""
        present = self.counts > 0
        found: dict[str, Any] = {
            "balanced_accuracy": float((self.right[present] / self.counts[present]).mean())
        }
        if self.confusion is not None:
            found |= {"confusion": self.confusion.tolist(), "classes": self.names}
        if self.kept and present.all():
            found["auc"] = self._auc()
        return found

    @property
    def warnings(self) -> list[str]:
        """What was left out."""
        found = []
        if self.confusion is None:
            found.append(
                f"The confusion matrix was left out: {len(self.names)} classes are too many."
            )
        if not self.kept:
            found.append(f"AUC was left out: {self.numbers:,} probabilities are too many.")
        return found

    def _auc(self) -> float:
        from sklearn.metrics import roc_auc_score  # noqa: PLC0415 (takes a second to import)

        targets, probabilities = (np.concatenate(parts) for parts in zip(*self.kept, strict=True))
        if len(self.names) == 2:
            return float(roc_auc_score(targets, probabilities[:, 1]))
        return float(roc_auc_score(targets, probabilities, multi_class="ovr"))


@dataclass
class NumberSums:
    """Errors of predicted numbers, and the targets' variance, of each output (outputs,)."""

    weight: float = 0.0
    rows: int = 0
    mean: Any = 0.0
    squares: Any = 0.0
    squared_errors: Any = 0.0
    absolute_errors: Any = 0.0

    def add(self, targets: Floats, predicted: Floats, weights: Floats) -> None:
        """Add examples: targets and predictions (n, outputs), weights (n,).

        `squares` is Σ w (y - ȳ)², joined as Chan, Golub and LeVeque 1979 do, so that a mean far
        from 0 costs no digits.
        """
        weight = float(weights.sum())
        mean = weights @ targets / weight
        between = self.weight * weight / (self.weight + weight) * np.square(mean - self.mean)
        self.squares = self.squares + weights @ np.square(targets - mean) + between
        self.mean = self.mean + (mean - self.mean) * (weight / (self.weight + weight))
        self.squared_errors = self.squared_errors + weights @ np.square(predicted - targets)
        self.absolute_errors = self.absolute_errors + weights @ np.abs(predicted - targets)
        self.weight += weight
        self.rows += len(targets)

    @property
    def figures(self) -> dict[str, Any]:
        """R², of two examples or more, RMSE and MAE, each the mean over the outputs."""
        r2, rmse = r2_and_rmse(self.squared_errors / self.weight, self.squares / self.weight)
        mae = float(np.mean(self.absolute_errors)) / self.weight
        return {
            "r2": r2 if self.rows > 1 else None,
            "rmse": rmse,
            "mae": mae if isfinite(mae) else None,
        }
