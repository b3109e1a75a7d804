"""Convert the columns of a block of step rows to bytes, and back.

The rows of a job have the same keys, so a block is one tree whose leaves are columns; the columns
of one dtype are one matrix. A matrix is stored byte by byte of its numbers: first all lowest bytes,
which do not compress and are stored as they are; last all highest bytes, which are nearly equal and
compress well.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

FORMAT = b"\x01"
SAMPLE_BYTES = 4096
WORTH_WHILE = 0.95
"""A part is stored compressed if its sample shrinks below this fraction."""

Numbers = npt.NDArray[Any]


class BadBlock(Exception):
    """The bytes are not a block of rows."""


@dataclass(frozen=True)
class Leaf:
    """A column of values; `kind` says how they are stored.

    Numbers of a matrix: `figure` in float32, `number` in float64, `integer`, `time` in
    microseconds, `hex` in bytes. Otherwise `json`: a list; `same`: one value for all rows.
    """

    kind: str
    values: Any


Tree = Leaf | dict[str, Any] | list[Any]


def write(tree: Tree, count: int) -> bytes:
    """Convert a tree whose columns have `count` values to bytes."""
    matrices = _Matrices()
    about = _described(tree, matrices)
    parts: list[bytes] = []
    layout: dict[str, Any] = {}
    for kind, columns in matrices.of.items():
        planes = np.stack(columns).view(np.uint8).reshape(len(columns), count, -1)
        stored = [_compressed(plane.tobytes()) for plane in np.moveaxis(planes, 2, 0)]
        layout[kind] = [len(columns), [[len(part), compressed] for part, compressed in stored]]
        parts += [part for part, _ in stored]
    head = zlib.compress(orjson.dumps([count, about, layout]), 6)
    return b"".join([FORMAT, len(head).to_bytes(4, "little"), head, *parts])


class _Matrices:
    """Columns of numbers, grouped by dtype; equal columns are stored once."""

    def __init__(self) -> None:
        self.of: dict[str, list[Numbers]] = {}
        self._known: dict[tuple[str, bytes], int] = {}

    def add(self, column: Numbers) -> list[Any]:
        kind = column.dtype.str[1:]
        known = (kind, column.tobytes())
        columns = self.of.setdefault(kind, [])
        if known not in self._known:
            self._known[known] = len(columns)
            columns.append(column)
        return [kind, self._known[known]]


def _described(tree: Tree, matrices: _Matrices) -> Any:
    """Describe the tree as JSON: {"d": {key: …}}, {"l": […]}, or [kind, …]."""
    if isinstance(tree, dict):
        return {"d": {key: _described(part, matrices) for key, part in tree.items()}}
    if isinstance(tree, list):
        return {"l": [_described(part, matrices) for part in tree]}
    if tree.kind in {"same", "json"}:
        return [tree.kind, tree.values]
    if tree.kind == "hex":
        columns = np.ascontiguousarray(tree.values).view(f"V{tree.values.shape[1]}")[:, 0]
        return [tree.kind, *matrices.add(columns)]
    if tree.kind in {"integer", "time"}:
        lowest, steps, narrow = _narrowed(tree.values)
        return [tree.kind, *matrices.add(narrow), lowest, steps]
    return [tree.kind, *matrices.add(tree.values)]


def _narrowed(values: Numbers) -> tuple[list[int], bool, Numbers]:
    """Return what to add, whether to differences, and the rest in the smallest integer dtype."""
    differences = np.diff(values)
    if len(differences) and np.ptp(differences) < np.ptp(values):
        lowest = int(differences.min())
        rest = np.concatenate([[0], differences - lowest])
        return [int(values[0]), lowest], True, rest.astype(np.min_scalar_type(int(rest.max())))
    lowest = int(values.min())
    rest = values - lowest
    return [lowest], False, rest.astype(np.min_scalar_type(int(rest.max())))


def widened(narrow: Numbers, lowest: list[int], are_steps: bool) -> Numbers:
    """Return the integers that `_narrowed` was given."""
    numbers = narrow.astype(np.int64)
    if are_steps:
        numbers[1:] += lowest[1]
        numbers = np.cumsum(numbers)
    return numbers + lowest[0]


def _compressed(part: bytes) -> tuple[bytes, bool]:
    """Compress the part if that is worthwhile; return it, and whether it is compressed."""
    sample = part[:SAMPLE_BYTES]
    if len(zlib.compress(sample, 1)) > WORTH_WHILE * len(sample):
        return part, False
    return zlib.compress(part, 1), True


class Parts:
    """The contents of a block: the number of rows, the tree as JSON, each matrix byte by byte."""

    def __init__(self, block: bytes) -> None:
        if block[:1] != FORMAT:
            raise BadBlock(f"A block of step rows has format {block[:1]!r}, expected {FORMAT!r}.")
        at = 5 + int.from_bytes(block[1:5], "little")
        self.count, self.about, layout = orjson.loads(zlib.decompress(block[5:at]))
        self.planes: dict[str, list[Numbers]] = {}
        for kind, (columns, parts) in layout.items():
            planes = []
            for length, compressed in parts:
                part = block[at : at + length]
                plane = np.frombuffer(zlib.decompress(part) if compressed else part, np.uint8)
                planes.append(plane.reshape(columns, self.count))
                at += length
            self.planes[kind] = planes

    def matrix(self, kind: str) -> Numbers:
        """Return a matrix (columns, rows)."""
        return np.stack(self.planes[kind], axis=-1).view(dtype(kind))[..., 0]


def dtype(kind: str) -> str:
    """Return a matrix's dtype in numpy's notation; all are little-endian."""
    return kind if kind[0] == "V" else f"<{kind}"


def tree_of(block: bytes) -> tuple[Tree, int]:
    """Return the tree of a block, as it was packed, and its number of rows."""
    parts = Parts(block)
    matrices = {kind: parts.matrix(kind) for kind in parts.planes}

    def recall(about: Any) -> Tree:
        if isinstance(about, dict):
            if "d" in about:
                return {key: recall(part) for key, part in about["d"].items()}
            return [recall(part) for part in about["l"]]
        kind, *where = about
        if kind in {"same", "json"}:
            return Leaf(kind, where[0])
        column = matrices[where[0]][where[1]]
        if kind in {"integer", "time"}:
            return Leaf(kind, widened(column, *where[2:]))
        if kind == "hex":
            return Leaf(kind, column.view(np.uint8).reshape(parts.count, -1))
        return Leaf(kind, column)

    return recall(parts.about), parts.count
