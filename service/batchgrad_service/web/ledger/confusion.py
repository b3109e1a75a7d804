"""Counts of label and predicted class, as a table whose cells lead to their examples."""

from dataclasses import dataclass

import numpy as np

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
    """The table, and its most frequent errors; `unknown` examples have no finite outputs."""

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
    counts = np.zeros((len(names), len(names)), np.int64)
    if pairs:
        np.add.at(counts, tuple(np.array(pairs).T), 1)
    rows = [
        Row(
            name,
            [
                Cell(label, other, int(count), _level(int(count), counts[label].sum()))
                for other, count in enumerate(counts[label])
            ],
            int(counts[label].sum()),
            int(counts[label, label]),
        )
        for label, name in enumerate(names)
    ]
    errors = [cell for row in rows for cell in row.cells if cell.label != cell.predicted]
    errors = sorted((one for one in errors if one.count), key=lambda one: -one.count)
    right = int(counts.trace())
    return Confusion(
        names, rows, errors[:PAIRS_SHOWN], len(pairs), right, len(found.rows) - len(pairs)
    )


def _level(count: int, of: int) -> int:
    """0 for no example, else 1 to LEVELS."""
    return -(-LEVELS * count // int(of)) if count else 0
