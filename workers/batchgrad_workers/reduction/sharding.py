"""Assign microbatches to workers: contiguous, balanced ranges with aligned boundaries."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from math import ceil


@lru_cache(256)
def assign(microbatches: int, workers: int) -> list[tuple[int, int]]:
    """Ranges [start, stop) that cover 0 … M, one per worker; fewer if M is smaller.

    No range is longer than ⌈M/K⌉, so the work is balanced. Within that limit every boundary is
    the number with the most factors of two: aligned ranges reduce to the fewest nodes.
    """
    workers = min(workers, microbatches)
    if not workers:
        return []
    longest = ceil(microbatches / workers)
    boundaries = [0]
    for left in range(workers - 1, -1, -1):
        low = max(boundaries[-1], microbatches - left * longest)
        high = min(boundaries[-1] + longest, microbatches)
        boundaries.append(_most_even(low, high))
    return [(start, stop) for start, stop in pairwise(boundaries) if start < stop]


@lru_cache(4096)
def node_count(start: int, stop: int, microbatches: int) -> int:
    """Number of nodes that a worker returns for a range of the canonical tree over M leaves."""
    return sum(1 for _ in maximal_nodes(start, stop, microbatches))


def maximal_nodes(start: int, stop: int, microbatches: int) -> Iterator[tuple[int, int]]:
    """Level and index of each of those nodes, from left to right."""
    while start < stop:
        node = start & -start or 1 << microbatches.bit_length()
        while min(start + node, microbatches) > stop:
            node >>= 1
        yield node.bit_length() - 1, start // node
        start += node


def leaves(start: int, stop: int) -> list[tuple[int, int]]:
    """The range [start, stop) as nodes, one for each microbatch."""
    return [(0, index) for index in range(start, stop)]


def pairs_first(start: int, stop: int, full: int, threads: int) -> list[tuple[int, int]]:
    """The range [start, stop) as nodes: pairs, as long as threads take no more rounds, and leaves.

    The microbatches [0, `full`) are of equal size; only such are paired.
    """
    first = ceil(start / 2)
    most = ceil((stop - start) / threads) // 2 * threads
    pairs = range(first, min(min(stop, full) // 2, first + most))
    singles = [node for node in leaves(start, stop) if node[1] // 2 not in pairs]
    return [(1, index) for index in pairs] + singles


def split(start: int, stop: int, workers: int) -> list[tuple[int, int]]:
    """Cut the range [start, stop) for `workers`, for example a lost worker's range."""
    return [(start + low, start + high) for low, high in assign(stop - start, workers)]


def _most_even(low: int, high: int) -> int:
    """The number in [low, high] with the most factors of two; the larger one of two equals."""
    return max(range(low, high + 1), key=lambda number: (number & -number or 1 << 62, number))
