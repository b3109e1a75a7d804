"""The examples of a prediction or an evaluation: a few as JSON, others as a file to send."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from batchgrad.data.arrays import from_arrays
from batchgrad.data.paths import ARRAYS, from_path
from batchgrad.data.recognition import open_source
from batchgrad.data.source import Source
from batchgrad.errors import InvalidArgument
from batchgrad.parsing import arguments

MOST_NUMBERS = 100_000
"""Of rows or inputs that are sent as JSON."""


def few_examples(data: Any) -> dict[str, Any] | None:
    """Rows [{column: value}] or inputs (n, …) as a body's key; None for many, or other data."""
    if _is_array(data):
        size = data.numel() if hasattr(data, "numel") else getattr(data, "size", MOST_NUMBERS + 1)
        few = isinstance(size, int) and size <= MOST_NUMBERS
        return {"inputs": _on_cpu(data).tolist()} if few else None
    if not isinstance(data, list) or not data:
        return None
    if all(isinstance(row, Mapping) for row in data):
        return {"rows": data}
    return {"inputs": data} if all(isinstance(row, list | tuple) for row in data) else None


def open_examples(data: Any) -> AbstractContextManager[Source]:
    """The file to send for `data`: as `open_source` does, but without targets if it has none.

    So inputs (n, …), as a .npy file too, are enough, and pictures, or a single one, need not be
    in folders of classes.

    Raises: see `open_source`.
    """
    if isinstance(data, str | os.PathLike):
        return from_path(arguments.path("data", data), of_inputs=True)
    if isinstance(data, Mapping) and not set(data) <= set(ARRAYS):
        raise InvalidArgument("data is one row; expected a list of rows: [{column: value}].")
    return from_arrays({"inputs": data}) if _is_array(data) else open_source(data)


def _is_array(data: Any) -> bool:
    """Whether it is an array or a tensor, and no data frame or a column or row of one."""
    tensor = hasattr(data, "detach") and hasattr(data, "numel")
    framed = hasattr(data, "columns") or hasattr(data, "to_frame")
    return tensor or (hasattr(data, "__array__") and not framed)


def _on_cpu(array: Any) -> Any:
    return array.detach().cpu() if hasattr(array, "detach") else array
