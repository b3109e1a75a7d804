"""The canonical tree: add the sums of microbatches in one fixed order, on any workers.

Over M leaves, node (level j, index k) is the sum of leaves [k·2^j, (k+1)·2^j) ∩ [0, M): its two
halves added, or its left half unchanged if the right half is empty. Floating-point sums depend on
the order of additions; this order depends on M alone, so the root has the same bits for any
number of workers and threads. A worker reduces its contiguous range of leaves to the maximal
nodes inside it, at most 2·log₂ M nodes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

Sum = TypeVar("Sum")


@dataclass(slots=True)
class Node(Generic[Sum]):
    """A partial sum and its place in the tree."""

    level: int
    index: int
    sum: Sum


class ReductionTree(Generic[Sum]):
    """Collects nodes in any order, and joins siblings as soon as it has both; thread-safe."""

    def __init__(self, leaves: int, join: Callable[[Sum, Sum], Sum]) -> None:
        """A tree over `leaves` microbatches; `join(left, right)` may reuse left's memory."""
        self._leaves = leaves
        self._join = join
        self._open: dict[tuple[int, int], Sum] = {}
        self._lock = Lock()

    def add(self, level: int, index: int, addend: Sum) -> None:
        """Add one node, and join it upwards as far as its siblings are present.

        Nodes are joined outside the lock: no two threads ever have the same pair.
        """
        while 1 << level < self._leaves:
            sibling = index ^ 1
            if sibling << level < self._leaves:
                with self._lock:
                    other = self._open.pop((level, sibling), None)
                    if other is None:
                        self._open[level, index] = addend
                        return
                left, right = (addend, other) if index < sibling else (other, addend)
                addend = self._join(left, right)
            level, index = level + 1, index >> 1
        self._open[level, index] = addend

    def nodes(self) -> list[Node[Sum]]:
        """The nodes that could not be joined further, from left to right."""
        nodes = [Node(level, index, addend) for (level, index), addend in self._open.items()]
        return sorted(nodes, key=lambda node: node.index << node.level)

    def root(self) -> Sum:
        """The sum of all leaves.

        Raises:
            ValueError: some leaves have not arrived.
        """
        nodes = self.nodes()
        if len(nodes) != 1 or 1 << nodes[0].level < self._leaves:
            places = [(node.level, node.index) for node in nodes]
            raise ValueError(f"The tree over {self._leaves} leaves is incomplete: it has {places}.")
        return nodes[0].sum
