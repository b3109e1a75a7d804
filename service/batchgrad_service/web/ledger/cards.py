"""Cards of examples: label beside prediction, the line of the ledger, the values of the row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from batchgrad.contract import Column, LedgerEntry
from batchgrad.display.numbers import NONE
from batchgrad_service.predicting.stored_rows import StoredPredictions
from batchgrad_service.routes.pictures import picture_shape
from batchgrad_service.web.numbers import number
from batchgrad_workers.data.dataset import StoredDataset

VALUES_SHOWN = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Card:
    """An example; `entry` is its line of the ledger, of training examples."""

    example: int
    id: str | None
    label: str
    prediction: str
    probability: float | None
    differs: bool
    values: list[tuple[str, str]]
    values_left: int
    entry: LedgerEntry | None = None


def of_ledger(entries: Sequence[LedgerEntry], stored: StoredDataset | None) -> list[Card]:
    """Cards of the ledger's examples, with predictions if the ledger has them."""
    return [
        Card(
            entry.example,
            entry.id,
            shown(label := entry.target if entry.class_name is None else entry.class_name),
            shown(entry.prediction),
            entry.probability,
            differs=entry.probability is not None and entry.prediction != label,
            values=row_values(stored, entry.example),
            values_left=_values_left(stored),
            entry=entry,
        )
        for entry in entries
    ]


def of_predictions(
    found: StoredPredictions, chosen: Sequence[int], stored: StoredDataset
) -> list[Card]:
    """Cards of the predictions at the places `chosen`."""
    names = found.classes or []
    return [
        Card(
            row := found.rows[place],
            stored.id_of(row),
            names[found.target[place]],
            names[found.prediction[place]],
            found.probability[place],
            differs=found.target[place] != found.prediction[place],
            values=row_values(stored, row),
            values_left=_values_left(stored),
        )
        for place in chosen
    ]


def shown(answer: str | float | list[float] | None) -> str:
    """A class, a number or some numbers."""
    if isinstance(answer, list):
        parts = ", ".join(map(number, answer[:VALUES_SHOWN]))
        return f"{parts}, …" if len(answer) > VALUES_SHOWN else parts
    return number(answer) if isinstance(answer, float) else NONE if answer is None else str(answer)


def drawable(stored: StoredDataset | None) -> bool:
    """Whether the dataset still exists and its inputs can be drawn."""
    inputs = None if stored is None else stored.arrays.get("inputs")
    return (
        stored is not None
        and inputs is not None
        and stored.table is None
        and picture_shape(inputs.shape[1:]) is not None
    )


def has_classes(stored: StoredDataset | None) -> bool:
    """Whether the targets are classes, as far as is known, not numbers."""
    targets = None if stored is None else stored.arrays.get("targets")
    return targets is None or targets.dtype.kind in "iu"


def row_values(stored: StoredDataset | None, example: int) -> list[tuple[str, str]]:
    """The first values of a row by the names of their columns; none of what can be drawn."""
    if stored is None or drawable(stored):
        return []
    inputs = stored.arrays.get("inputs")
    if stored.table is not None and inputs is not None:
        columns = stored.table.inputs[:VALUES_SHOWN]
        row = inputs[example].tolist()
        return [(column.name, value_text(column, row[k])) for k, column in enumerate(columns)]
    arrays = {name: array for name, array in stored.arrays.items() if name != "targets"}
    return [(name, _numbers(array[example])) for name, array in arrays.items()][:VALUES_SHOWN]


def _values_left(stored: StoredDataset | None) -> int:
    columns = 0 if stored is None or stored.table is None else len(stored.table.inputs)
    return max(0, columns - VALUES_SHOWN)


def value_text(column: Column, value: float) -> str:
    """A stored number as what it stands for."""
    if np.isnan(value):
        return NONE
    match column.kind:
        case "category":
            return (column.categories or [])[int(value)]
        case "boolean":
            return "yes" if value else "no"
        case "date":
            try:
                at = _EPOCH + timedelta(milliseconds=round(value * 86_400_000))
            except OverflowError:  # before year 1 or after year 9999
                return f"{number(value, 6)} days after {_EPOCH:%Y-%m-%d}"
            return f"{at:%Y-%m-%d}" if at.time() == _EPOCH.time() else f"{at:%Y-%m-%d %H:%M}"
    return number(value, 6)


def _numbers(row: Any) -> str:
    numbers = row.reshape(-1)[: VALUES_SHOWN + 1].tolist()
    parts = [number(value) for value in numbers[:VALUES_SHOWN]]
    return ", ".join(parts) + (", …" if len(numbers) > VALUES_SHOWN else "")
