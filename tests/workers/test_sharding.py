"""Ranges cover all microbatches, are balanced, and have aligned boundaries."""

from itertools import combinations, pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgrad_workers.reduction.sharding import assign, node_count, pairs_first, split
from batchgrad_workers.reduction.tree import ReductionTree

MICROBATCHES = st.integers(1, 500)
WORKERS = st.integers(1, 70)


@given(MICROBATCHES, WORKERS)
def test_ranges_cover_everything_once_in_order(microbatches: int, workers: int) -> None:
    ranges = assign(microbatches, workers)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == microbatches
    assert all(left[1] == right[0] for left, right in pairwise(ranges))


@given(MICROBATCHES, WORKERS)
def test_no_range_is_longer_than_the_average_rounded_up(microbatches: int, workers: int) -> None:
    ranges = assign(microbatches, workers)
    assert len(ranges) <= workers
    assert max(stop - start for start, stop in ranges) == ceil(microbatches / workers)


def test_a_job_of_many_steps_and_losses_does_not_fill_the_memory() -> None:
    assert all(each.cache_info().maxsize for each in (assign, node_count))


def nodes(start: int, stop: int, microbatches: int) -> int:
    tree: ReductionTree[int] = ReductionTree(microbatches, lambda left, right: left + right)
    for index in range(start, stop):
        tree.add(0, index, 1)
    return len(tree.nodes())


def test_boundaries_are_aligned_where_balance_allows() -> None:
    assert assign(8, 2) == [(0, 4), (4, 8)]
    assert assign(7, 3) == [(0, 2), (2, 4), (4, 7)]
    assert [nodes(*each, 8) for each in assign(8, 4)] == [1, 1, 1, 1]
    # Equal cuts of 16 by 3 would make [0,5) [5,10) [10,16): 2 + 3 + 2 nodes instead of 1 + 1 + 2.
    assert sum(nodes(*each, 16) for each in assign(16, 3)) == 5


@given(MICROBATCHES, st.data())
def test_node_count_is_that_of_the_tree(microbatches: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, microbatches - 1))
    stop = data.draw(st.integers(start + 1, microbatches))
    assert node_count(start, stop, microbatches) == nodes(start, stop, microbatches)


@given(st.integers(0, 50), MICROBATCHES, WORKERS)
def test_a_lost_range_is_cut_up_whole(start: int, length: int, workers: int) -> None:
    pieces = split(start, start + length, workers)
    assert [i for low, high in pieces for i in range(low, high)] == list(
        range(start, start + length)
    )


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("short", [0, 1])
def test_pairs_cover_a_range_once_and_take_no_more_rounds(threads: int, short: int) -> None:
    """`short`: how many microbatches at the end are too short for a pair."""
    paired = 0
    for start, stop in combinations(range(17), 2):
        nodes = pairs_first(start, stop, stop - short, threads)
        covered = [index << level | k for level, index in nodes for k in range(1 << level)]
        assert sorted(covered) == list(range(start, stop))
        assert all((index + 1) << level <= stop - short for level, index in nodes if level)
        busy = [0] * threads
        for level, _ in nodes:
            busy[busy.index(min(busy))] += 1 << level
        assert max(busy) == ceil((stop - start) / threads)
        paired += sum(level for level, _ in nodes)
    assert paired
