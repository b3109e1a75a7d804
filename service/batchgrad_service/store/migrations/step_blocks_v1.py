# ruff: noqa: INP001 - this folder is no package
"""Format 1 of packed step rows, frozen for migration 0008: `step_blocks/` may change, this may not.

The rows' common structure is a tree whose leaves are columns. A column of numbers belongs to a
matrix with all columns of its dtype; a matrix is stored byte by byte of its numbers. See
`step_blocks/columns.py` for the reasons.
"""

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

FORMAT = b"\x01"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Row = dict[str, Any]
Numbers = npt.NDArray[Any]


def pack(rows: Sequence[Row], *, exact: bool) -> bytes:
    """Pack one row or more; figures below the top level are float32 unless `exact`."""
    matrices: dict[str, list[Numbers]] = {}
    about = _describe(list(rows), 0, matrices, exact=exact)
    parts: list[bytes] = []
    layout: dict[str, Any] = {}
    for kind, columns in matrices.items():
        planes = np.stack(columns).view(np.uint8).reshape(len(columns), len(rows), -1)
        stored = [_compress(plane.tobytes()) for plane in np.moveaxis(planes, 2, 0)]
        layout[kind] = [len(columns), [[len(part), smaller] for part, smaller in stored]]
        parts += [part for part, _ in stored]
    head = zlib.compress(orjson.dumps([len(rows), about, layout]), 6)
    return b"".join([FORMAT, len(head).to_bytes(4, "little"), head, *parts])


def unpack(block: bytes) -> list[Row]:
    """Return the rows of a block."""
    if block[:1] != FORMAT:
        raise ValueError(f"A block of step rows has format {block[:1]!r}, expected {FORMAT!r}.")
    at = 5 + int.from_bytes(block[1:5], "little")
    count, about, layout = orjson.loads(zlib.decompress(block[5:at]))
    matrices: dict[str, Numbers] = {}
    for kind, (columns, parts) in layout.items():
        planes = []
        for length, compressed in parts:
            part = block[at : at + length]
            plane = np.frombuffer(zlib.decompress(part) if compressed else part, np.uint8)
            planes.append(plane.reshape(columns, count))
            at += length
        dtype = kind if kind[0] == "V" else f"<{kind}"
        matrices[kind] = np.stack(planes, axis=-1).view(dtype)[..., 0]
    return _values(about, count, matrices)


def _describe(
    values: list[Any], depth: int, matrices: dict[str, list[Numbers]], *, exact: bool
) -> Any:
    """Describe values as JSON: {"d": {key: …}}, {"l": […]} or [kind, …]; add their columns."""
    first = values[0]
    if _all(values, dict) and all(value.keys() == first.keys() for value in values):
        parts = {key: [value[key] for value in values] for key in first}
        return {"d": {k: _describe(v, depth + 1, matrices, exact=exact) for k, v in parts.items()}}
    if _all(values, list) and all(len(value) == len(first) for value in values):
        columns = [list(column) for column in zip(*values, strict=True)]
        return {"l": [_describe(c, depth + 1, matrices, exact=exact) for c in columns]}
    kind, column, more = _column(values, exact=exact or depth < 2)
    if not isinstance(column, np.ndarray):
        return [kind, column]
    own = matrices.setdefault(column.dtype.str[1:], [])
    own.append(column)
    return [kind, column.dtype.str[1:], len(own) - 1, *more]


def _all(values: list[Any], kind: type) -> bool:
    return all(isinstance(value, kind) for value in values)


def _column(values: list[Any], *, exact: bool) -> tuple[str, Any, list[Any]]:
    """Return a leaf's kind, its column (or JSON value), and what else describes it."""
    types = set(map(type, values))
    if types == {datetime}:
        narrow, more = _narrow(np.array([(value - EPOCH) // MICROSECOND for value in values]))
        return "time", narrow, more
    if float not in types and values.count(values[0]) == len(values):
        return "same", values[0], []
    if types == {int} and max(map(abs, values)) < 2**63:
        narrow, more = _narrow(np.array(values, np.int64))
        return "integer", narrow, more
    if types == {str} and (digits := _hexadecimal(values)) is not None:
        return "hex", digits, []
    if float in types and types <= {int, float, type(None)}:
        numbers = np.array(values, np.float64)  # None is nan
        with np.errstate(over="ignore"):
            figures = numbers.astype(np.float32)
        fits = np.isfinite(figures) == np.isfinite(numbers)
        fits &= (np.abs(figures) >= np.finfo(np.float32).tiny) | ~(np.abs(numbers) > 0)
        return ("number", numbers, []) if exact or not fits.all() else ("figure", figures, [])
    return "json", values, []


def _narrow(values: Numbers) -> tuple[Numbers, list[Any]]:
    """Return the integers (or their differences) in as few bytes as will do, and what to add."""
    differences = np.diff(values)
    steps = len(differences) > 0 and bool(np.ptp(differences) < np.ptp(values))
    lowest = int(differences.min()) if steps else int(values.min())
    rest = np.concatenate([[0], differences - lowest]) if steps else values - lowest
    narrow = rest.astype(np.min_scalar_type(int(rest.max())))
    return narrow, [[int(values[0]), lowest] if steps else [lowest], steps]


def _hexadecimal(values: list[str]) -> Numbers | None:
    """Return texts of equally many hexadecimal digits as bytes; None for other texts."""
    width, text = len(values[0]), "".join(values)
    try:
        content = bytes.fromhex(text)
    except ValueError:
        return None
    if width == 0 or content.hex() != text or any(len(value) != width for value in values):
        return None
    return np.frombuffer(content, f"V{width // 2}")


def _compress(part: bytes) -> tuple[bytes, bool]:
    compressed = zlib.compress(part, 1)
    return (compressed, True) if len(compressed) < len(part) else (part, False)


def _values(about: Any, count: int, matrices: dict[str, Numbers]) -> list[Any]:
    """Return what a part of the tree has in each row."""
    if isinstance(about, list):
        return _column_values(about, count, matrices)
    if "l" in about:
        parts = [_values(part, count, matrices) for part in about["l"]]
        return [list(row) for row in zip(*parts, strict=True)] if parts else [[]] * count
    parts = [_values(part, count, matrices) for part in about["d"].values()]
    rows = zip(*parts, strict=True) if parts else [()] * count
    return [dict(zip(about["d"], row, strict=True)) for row in rows]


def _column_values(about: list[Any], count: int, matrices: dict[str, Numbers]) -> list[Any]:
    kind, *where = about
    if kind == "same":
        return [where[0]] * count
    if kind == "json":
        return list(where[0])
    column = matrices[where[0]][where[1]]
    if kind == "hex":
        return [bytes(value).hex() for value in column]
    if kind in {"figure", "number"}:
        return [None if value != value else value for value in column.tolist()]  # noqa: PLR0124 - nan
    numbers = column.astype(np.int64)
    lowest, steps = where[2:]
    if steps:
        numbers[1:] += lowest[1]
        numbers = np.cumsum(numbers)
    integers = (numbers + lowest[0]).tolist()
    if kind == "time":
        return [EPOCH + timedelta(microseconds=value) for value in integers]
    return list(integers)
