"""Counts of label and predicted class, as a table whose cells lead to their examples."""

from collections import Counter
from dataclasses import dataclass

from batchgrad_service.predicting.stored_rows import StoredPredictions

LEVELS = 5
MOST_CLASSES = 40
"""A larger table cannot be read: then there is the list of pairs alone."""

PAIRS_SHOWN = 10


@dataclass(frozen=True)
class Cell:
    """Examples of one label and one prediction; `level`, 0 to LEVELS, their part of the label's."""

    label: int
    predicted: int
    count: int
    level: int


@dataclass(frozen=True)
class Row:
    """Examples of one label."""

    name: str
    cells: list[Cell]
    count: int
    right: int


@dataclass(frozen=True)
class Confusion:
    """The table, and its most frequent errors; `unknown` examples have no finite outputs.

    Of more than MOST_CLASSES classes it has no `rows`.
    """

    classes: list[str]
    rows: list[Row]
    pairs: list[Cell]
    count: int
    right: int
    unknown: int

    @property
    def large(self) -> bool:
        """Whether there are more classes than a table shows."""
        return len(self.classes) > MOST_CLASSES


def confusion(found: StoredPredictions) -> Confusion | None:
    """Count the predictions; None if they are not of classes, or the targets are not."""
    names = found.classes
    if names is None or None in found.target:
        return None
    pairs = [
        (label, predicted)
        for label, predicted in zip(found.target, found.prediction, strict=True)
        if predicted is not None
    ]
    counts = Counter(pairs)
    of_label = Counter(label for label, _ in pairs)

    def cell(label: int, predicted: int) -> Cell:
        count = counts[label, predicted]
        return Cell(label, predicted, count, _level(count, of_label[label]))

    shown = range(len(names) if len(names) <= MOST_CLASSES else 0)
    rows = [
        Row(
            names[label],
            [cell(label, other) for other in shown],
            of_label[label],
            counts[label, label],
        )
        for label in shown
    ]
    errors = sorted(
        (one for one in counts if one[0] != one[1]), key=lambda one: (-counts[one], one)
    )
    return Confusion(
        names,
        rows,
        [cell(*one) for one in errors[:PAIRS_SHOWN]],
        len(pairs),
        sum(count for (label, predicted), count in counts.items() if label == predicted),
        len(found.rows) - len(pairs),
    )


def _level(count: int, of: int) -> int:
    """0 for no example, else 1 to LEVELS."""
    return -(-LEVELS * count // of) if count else 0
