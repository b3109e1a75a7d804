"""Where workers belong on a cluster, and how a cluster that changes is seen."""

import threading
from collections.abc import Mapping
from contextlib import closing

from batchgrad_engine.executors.ray.nodes import NodeWatch
from batchgrad_engine.executors.ray.placement import (
    Nodes,
    WorkerSlot,
    max_threads,
    one_per_node,
    with_threads,
)

TWO = Nodes({"a": 4, "b": 8})


def test_one_worker_a_node_with_all_its_cpus() -> None:
    assert one_per_node(TWO, 1, 9, "auto") == [WorkerSlot("a", 4, 4), WorkerSlot("b", 8, 8)]
    assert one_per_node(TWO, 1, 1, "auto") == [WorkerSlot("a", 4, 4)]
    assert one_per_node(TWO, 1, 9, 3) == [WorkerSlot("a", 3, 3), WorkerSlot("b", 3, 3)]
    assert one_per_node(Nodes({}), 1, 9, "auto") == []


def test_several_a_node_where_there_are_too_few() -> None:
    assert one_per_node(TWO, 3, 9, "auto") == [*[WorkerSlot("a", 2, 2)] * 2, WorkerSlot("b", 8, 8)]
    # More workers than CPUs, or more threads: Ray finds room for them all the same.
    assert one_per_node(Nodes({"a": 2}), 4, 4, "auto") == [WorkerSlot("a", 1, 0.5)] * 4
    assert one_per_node(Nodes({"a": 2}), 2, 2, 8) == [WorkerSlot("a", 8, 1)] * 2


def test_workers_of_so_many_threads_wherever_there_is_room() -> None:
    assert with_threads(TWO, 4, 9) == [WorkerSlot("a", 4, 4), *[WorkerSlot("b", 4, 4)] * 2]
    assert with_threads(TWO, 5, 9) == [WorkerSlot("b", 5, 5)]
    assert len(with_threads(TWO, 1, 7)) == 7


def test_as_many_threads_as_all_workers_find_room_for() -> None:
    assert [max_threads(TWO, workers) for workers in (1, 2, 3, 4, 12, 13)] == [8, 4, 4, 2, 1, 1]
    assert max_threads(Nodes({}), 2) == 1


class Looks:
    """A cluster that is as it was told to be last; counts who looks."""

    def __init__(self, alive: Mapping[str, int]) -> None:
        self.alive = alive
        self.draining = frozenset[str]()
        self.lost = False
        self._looked = threading.Semaphore(0)

    def __call__(self) -> tuple[Mapping[str, int], frozenset[str]]:
        self._looked.release()
        if self.lost:
            raise ConnectionError
        return self.alive, self.draining

    def twice(self) -> None:
        """Wait until what was seen is known: the second look comes after the first was told."""
        while self._looked.acquire(blocking=False):
            pass
        for _ in range(2):
            assert self._looked.acquire(timeout=10)


def test_nodes_that_come_drain_and_go() -> None:
    looks = Looks({"small": 2, "large": 8, "own": 4, "none": 0})
    with closing(NodeWatch("own", looks, seconds=0.005)) as watch:
        first = watch.nodes
        assert list(first.cpus) == ["own", "large", "small"]
        looks.twice()
        assert watch.nodes is first  # nothing has changed
        looks.alive = {**looks.alive, "new": 64}
        looks.twice()
        assert list(watch.nodes.cpus) == ["own", "large", "small", "new"]
        looks.draining = frozenset({"large"})
        looks.twice()
        assert list(watch.nodes.cpus) == ["own", "small", "new"]
        assert watch.nodes.draining == frozenset({"large"})
        looks.lost = True
        looks.twice()
        assert "own" in watch.nodes.cpus  # as it was seen last
        looks.lost, looks.draining, looks.alive = False, frozenset(), {"own": 4}
        looks.twice()
        assert watch.nodes == Nodes({"own": 4})
