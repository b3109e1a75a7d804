"""Rows of different lengths, such as token ids, padded to the longest: arrays (n, T, …)."""

from collections.abc import Mapping
from typing import Any

from batchgrad.data.arrays import as_array
from batchgrad.errors import InvalidArgument

Pad = bool | Mapping[str, float]
"""True, or the value for each array that pads with another than 0 (labels: -100)."""

MASK, TOKENS, LABELS = "attention_mask", "input_ids", "labels"
IGNORED = -100
"""What PyTorch's cross entropy leaves out."""


def padded(numpy: Any, arrays: Mapping[str, Any], pad: Pad) -> dict[str, Any]:
    """The arrays, of which lists of rows are padded at their ends to each one's longest row.

    If there are `input_ids` and no `attention_mask`, it is added: 1 for each of a row's own ids.

    Raises:
        InvalidArgument: rows that cannot be one array, or `pad` names an array that is not there.
    """
    values = {LABELS: IGNORED, **(pad if isinstance(pad, Mapping) else {})}
    unknown = sorted(values.keys() - arrays.keys() - {LABELS})
    if unknown:
        raise InvalidArgument(f"pad names {unknown[0]}, but the arrays are {', '.join(arrays)}.")
    rows = {name: _rows(numpy, name, value) for name, value in arrays.items()}
    if TOKENS in rows and MASK not in rows:
        rows[MASK] = [numpy.ones(len(row), numpy.int64) for row in rows[TOKENS]]
    return {
        name: _filled(numpy, name, found, values.get(name, 0)) if isinstance(found, list) else found
        for name, found in rows.items()
    }


def _rows(numpy: Any, name: str, value: Any) -> Any:
    """A list of arrays (T, …), one for each row; or the whole array (n,) if it has no others."""
    if not isinstance(value, list | tuple):
        whole = as_array(numpy, name, value)
        return list(whole) if whole.ndim > 1 else whole
    if not value or isinstance(value[0], int | float):
        return as_array(numpy, name, value)
    rows = [as_array(numpy, f"{name}[{index}]", row) for index, row in enumerate(value)]
    return rows if all(row.ndim for row in rows) else as_array(numpy, name, value)


def _filled(numpy: Any, name: str, rows: list[Any], value: float) -> Any:
    for index, row in enumerate(rows):
        if row.shape[1:] != rows[0].shape[1:]:
            raise InvalidArgument(
                f"{name}[{index}] has shape {list(row.shape)}, {name}[0] has "
                f"{list(rows[0].shape)}: rows may differ in their first axis alone."
            )
    longest = max(len(row) for row in rows)
    dtype = numpy.result_type(*{row.dtype for row in rows if len(row)} or {numpy.int64})
    if not all(len(row) == longest for row in rows):
        dtype = numpy.result_type(dtype, numpy.min_scalar_type(value))
    whole = numpy.full((len(rows), longest, *rows[0].shape[1:]), value, dtype)
    for row, place in zip(rows, whole, strict=True):
        place[: len(row)] = row
    return whole
