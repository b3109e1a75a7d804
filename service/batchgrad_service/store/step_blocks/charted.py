"""Read the figures that are drawn over steps from a block of step rows, without its other columns.

Their names are paths in a row: loss, shortcuts.averaged_error.relative_error, phases.compute.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from batchgrad.contract import FIGURES
from batchgrad_service.store.step_blocks.columns import Numbers, Parts, dtype, widened

OF_SHORTCUT = ("relative_error", "cosine_similarity")


def charted_columns(block: bytes) -> dict[str, Numbers]:
    """Return the columns (rows,) by name, float64 with nan where a row has none; times in s."""
    parts = Parts(block)
    found = {".".join(path): _column(parts, parts.about, path) for path in _paths(parts.about)}
    return {name: values for name, values in found.items() if not np.isnan(values).all()}


def _paths(about: Any) -> Iterator[tuple[str, ...]]:
    row = about["d"]
    yield from ((name,) for name in ("step", "time", *FIGURES, "epsilon") if name in row)
    yield from (("phases", name) for name in _keys(row.get("phases")))
    for name in _keys(row.get("shortcuts")):
        yield from (("shortcuts", name, figure) for figure in OF_SHORTCUT)


def _keys(about: Any) -> list[str]:
    """The keys of a part of the rows; it is a list [kind, …] where rows have different ones."""
    if isinstance(about, list):
        rows = about[1] if about[0] == "json" else about[1:]
        return list(dict.fromkeys(key for row in rows for key in row or ()))
    return list(about["d"]) if about else []


def _column(parts: Parts, about: Any, path: tuple[str, ...]) -> Numbers:
    while path and isinstance(about, dict):
        about, path = about["d"].get(path[0], ["same", None]), path[1:]
    kind, *where = about
    if kind in {"same", "json"}:
        rows = [where[0]] * parts.count if kind == "same" else where[0]
        for key in path:
            rows = [row.get(key) if row else None for row in rows]
        return np.array(rows, np.float64)
    planes = [plane[where[1]] for plane in parts.planes[where[0]]]
    column = np.stack(planes, axis=-1).view(dtype(where[0]))[..., 0]
    if kind in {"integer", "time"}:
        column = widened(column, where[2], where[3])
    return column / 1e6 if kind == "time" else column.astype(np.float64)
