"""The formats of predictions, and predictions from the rows of a file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchgrad.contract import Operation, PredictionFormat, Predictions
from batchgrad.errors import InvalidArgument

_SUFFIXES: Mapping[str, PredictionFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".npz": "npz",
}

_PROBABILITY = "probability_"


def prediction_format(path: Path) -> PredictionFormat:
    """The format for a file's name. Raises InvalidArgument for another suffix."""
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise InvalidArgument(
            f"{path} has no suffix of a format of predictions: name it "
            f"{path.with_suffix('.csv').name}, or with {', '.join(list(_SUFFIXES)[1:])}."
        )
    return found


def predictions_of(lines: bytes, operation: Operation) -> Predictions:
    """The predictions in a result of JSON lines."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines.splitlines()]
    names = list(rows[0]) if rows else []
    probabilities = [name for name in names if name.startswith(_PROBABILITY)]
    values = [name for name in names if name.startswith("prediction")]
    ids = names[0] if names and names[0] not in values else None
    return Predictions(
        prediction=[
            row[values[0]] if len(values) == 1 else [row[name] for name in values] for row in rows
        ],
        probabilities=(
            [[row[name] for name in probabilities] for row in rows] if probabilities else None
        ),
        classes=[name.removeprefix(_PROBABILITY) for name in probabilities] or None,
        ids=None if ids is None else [row[ids] for row in rows],
        parameters_digest=operation.parameters_digest or "",
        parameters_step=operation.parameters_step or 0,
        warnings=operation.warnings,
    )
