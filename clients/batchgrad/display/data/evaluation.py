"""Show an evaluation: its figures, and the confusion matrix."""

from collections.abc import Callable
from typing import Any

from batchgrad.contract import Evaluation
from batchgrad.display.numbers import number, percent
from batchgrad.display.terminal import properties, say, table

MOST_SHOWN_CLASSES = 20
_FIGURES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("loss", "loss", number),
    ("accuracy", "accuracy", percent),
    ("balanced_accuracy", "balanced accuracy", percent),
    ("auc", "AUC", number),
    ("r2", "R²", number),
    ("rmse", "RMSE", number),
    ("mae", "MAE", number),
)


def show_evaluation(found: Evaluation) -> None:
    """Print the figures that are known, and the confusion matrix of up to 20 classes."""
    known = [
        (label, show(value))
        for name, label, show in _FIGURES
        if (value := getattr(found, name)) is not None
    ]
    of = f"after step {found.parameters_step}, {found.parameters_digest}"
    properties([("examples", f"{found.examples:,}"), *known, ("parameters", of)])
    confusion, classes = found.confusion, found.classes
    if confusion is None or classes is None or len(classes) > MOST_SHOWN_CLASSES:
        return
    say("\nRows are the true classes, columns the predicted ones:")
    rows = zip(classes, confusion, strict=True)
    table(["", *classes], [[name, *map(str, counts)] for name, counts in rows])
