"""Join several blocks of step rows into one, column by column."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from batchgrad_service.store.step_blocks.columns import Leaf, Tree, tree_of, write
from batchgrad_service.store.step_blocks.packing import pack, unpack


class _Different(Exception):
    """The blocks' rows have different keys."""


def join(blocks: Sequence[bytes]) -> bytes:
    """Return one block with the rows of several, in order; several times faster than by rows."""
    trees, counts = zip(*map(tree_of, blocks), strict=True)
    try:
        return write(_joined(list(trees), list(counts)), sum(counts))
    except _Different:
        rows = [row for block in blocks for row in unpack(block, rounded=False)]
        return pack(rows, exact=any(_is_exact(tree) for tree in trees))


def _is_exact(tree: Tree) -> bool:
    """Whether the figures below the top level are float64 (True if there are none)."""
    if isinstance(tree, Leaf):
        return tree.kind != "figure"
    return all(map(_is_exact, tree.values() if isinstance(tree, dict) else tree))


def _joined(trees: list[Any], counts: list[int]) -> Tree:
    first = trees[0]
    if any(type(tree) is not type(first) for tree in trees):
        raise _Different
    if isinstance(first, Leaf):
        return _joined_leaf(trees, counts)
    if any(len(tree) != len(first) for tree in trees):
        raise _Different
    if isinstance(first, list):
        return [_joined(list(parts), counts) for parts in zip(*trees, strict=True)]
    if any(tree.keys() != first.keys() for tree in trees):
        raise _Different
    return {key: _joined([tree[key] for tree in trees], counts) for key in first}


def _joined_leaf(leaves: list[Leaf], counts: list[int]) -> Leaf:
    first = leaves[0]
    if all(leaf.kind == "same" and leaf.values == first.values for leaf in leaves):
        return first
    if any(leaf.kind == "same" for leaf in leaves):
        leaves = [_spread(leaf, count) for leaf, count in zip(leaves, counts, strict=True)]
    kinds = {leaf.kind for leaf in leaves}
    if len(kinds) > 1 and not kinds <= {"figure", "number"}:
        raise _Different
    if "json" in kinds:
        return Leaf("json", [value for leaf in leaves for value in leaf.values])
    return Leaf(max(kinds), np.concatenate([leaf.values for leaf in leaves]))


def _spread(leaf: Leaf, count: int) -> Leaf:
    """Repeat the integer of a `same` leaf for each row."""
    if leaf.kind != "same":
        return leaf
    if type(leaf.values) is not int:
        raise _Different
    return Leaf("integer", np.full(count, leaf.values, np.int64))
