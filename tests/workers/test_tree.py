"""The canonical tree: same bits for any partition, order of arrival and number of threads."""

from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import pairwise
from math import ceil, log2
from operator import add
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgrad_workers.reduction.tree import Node, ReductionTree


def canonical(leaves: list[float], level: int, index: int) -> float:
    """Node (level, index) as defined: its two halves, a missing half passing the other through."""
    if level == 0:
        return leaves[index]
    left = canonical(leaves, level - 1, 2 * index)
    if (2 * index + 1) << (level - 1) >= len(leaves):
        return left
    return left + canonical(leaves, level - 1, 2 * index + 1)


def root(leaves: list[float]) -> float:
    return canonical(leaves, ceil(log2(len(leaves))), 0)


def numbers(count: int, seed: int) -> list[float]:
    """Floats whose sum depends on the order of additions."""
    random = np.random.default_rng(seed)
    return (random.normal(size=count) * 10.0 ** random.integers(-8, 8, count)).tolist()


def reduced(leaves: list[float], part: range, order: list[int]) -> list[Node[float]]:
    """What the holder of `part` returns, its leaves arriving in `order`."""
    tree: ReductionTree[float] = ReductionTree(len(leaves), add)
    for place in order:
        tree.add(0, part[place], leaves[part[place]])
    return tree.nodes()


@st.composite
def partitions(draw: st.DrawFn) -> tuple[int, list[range]]:
    leaves = draw(st.integers(1, 70))
    cuts = draw(st.sets(st.integers(1, leaves - 1), max_size=8)) if leaves > 1 else set()
    edges = [0, *sorted(cuts), leaves]
    return leaves, [range(a, b) for a, b in pairwise(edges)]


@settings(max_examples=200, derandomize=True)
@given(partitions(), st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_any_partition_and_order_of_arrival_gives_the_canonical_bits(
    partition: tuple[int, list[range]], seed: int, random: Random
) -> None:
    count, parts = partition
    leaves = numbers(count, seed)
    nodes: list[Node[float]] = []
    for part in parts:
        order = list(range(len(part)))
        random.shuffle(order)
        own = reduced(leaves, part, order)
        assert len(own) <= max(1, 2 * log2(count))
        nodes += own
    random.shuffle(nodes)

    whole: ReductionTree[float] = ReductionTree(count, add)
    for node in nodes:
        whole.add(node.level, node.index, node.sum)

    assert whole.root() == root(leaves)


def test_the_order_of_additions_matters_so_those_tests_mean_something() -> None:
    differing = [
        seed for seed in range(20) if reduce(add, numbers(37, seed)) != root(numbers(37, seed))
    ]

    assert len(differing) > 10


@pytest.mark.parametrize("count", [1, 2, 7, 64, 101])
def test_threads_give_the_canonical_bits(count: int) -> None:
    leaves = numbers(count, count)

    for _ in range(5):
        tree: ReductionTree[float] = ReductionTree(count, add)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda k, tree=tree: tree.add(0, k, leaves[k]), reversed(range(count))))
        assert tree.root() == root(leaves)


@settings(max_examples=200, derandomize=True)
@given(partitions())
def test_a_range_is_reduced_to_the_maximal_nodes_inside_it(
    partition: tuple[int, list[range]],
) -> None:
    """Every leaf once, and no node whose parent would fit into the range too."""
    count, parts = partition
    for part in parts:
        tree: ReductionTree[list[int]] = ReductionTree(count, add)
        for leaf in part:
            tree.add(0, leaf, [leaf])
        nodes = tree.nodes()
        assert [leaf for node in nodes for leaf in node.sum] == list(part)
        for node in nodes:
            start, stop = node.index << node.level, min((node.index + 1) << node.level, count)
            assert node.sum == list(range(start, stop))
            parent = range(
                (node.index >> 1) << (node.level + 1),
                min(((node.index >> 1) + 1) << (node.level + 1), count),
            )
            if 1 << node.level < count:
                assert not (parent.start >= part.start and parent.stop <= part.stop)


def test_the_left_half_is_the_left_operand_in_any_order_of_arrival() -> None:
    tree: ReductionTree[str] = ReductionTree(5, lambda left, right: f"({left}{right})")
    for leaf in (4, 1, 3, 0, 2):
        tree.add(0, leaf, "abcde"[leaf])

    assert tree.root() == "(((ab)(cd))e)"


@pytest.mark.parametrize("missing", [{0}, {3}, {5}, {4, 5}, {0, 1, 2, 3}])
def test_a_tree_that_lacks_leaves_has_no_root(missing: set[int]) -> None:
    tree: ReductionTree[float] = ReductionTree(6, add)
    for leaf in set(range(6)) - missing:
        tree.add(0, leaf, 1.0)

    with pytest.raises(ValueError, match=r"over 6 leaves is incomplete: it has \[\("):
        tree.root()


def test_a_tree_without_leaves_has_no_root() -> None:
    with pytest.raises(ValueError, match="incomplete"):
        ReductionTree(3, add).root()
