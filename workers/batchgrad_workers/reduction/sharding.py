"""Which worker gets which microbatches: contiguous ranges, balanced, on aligned boundaries."""

from functools import lru_cache
from itertools import pairwise
from math import ceil


@lru_cache(256)
def assign(microbatches: int, workers: int) -> list[tuple[int, int]]:
    """Ranges [start, stop) that cover 0 … M, one a worker; fewer when there is too little work.

    No range is longer than ⌈M/K⌉, so no worker is waited for longer than need be. Within that,
    every boundary is put on the most even number there is: aligned ranges make the fewest sums.
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
def sums(start: int, stop: int, microbatches: int) -> int:
    """How many nodes of the canonical tree over M microbatches a worker returns for a range."""
    count = 0
    while start < stop:
        node = start & -start or 1 << microbatches.bit_length()
        while min(start + node, microbatches) > stop:
            node >>= 1
        start += node
        count += 1
    return count


def split(start: int, stop: int, workers: int) -> list[tuple[int, int]]:
    """The range [start, stop) cut for `workers`: what a lost worker leaves to the others."""
    return [(start + low, start + high) for low, high in assign(stop - start, workers)]


def _most_even(low: int, high: int) -> int:
    """The number in [low, high] that the largest power of two divides; the larger of equals."""
    return max(range(low, high + 1), key=lambda number: (number & -number or 1 << 62, number))
