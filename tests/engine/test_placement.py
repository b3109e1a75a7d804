"""Worker slots for a cluster, and the watch for changes of its nodes."""

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


def test_one_worker_per_node_with_all_its_cpus() -> None:
    assert one_per_node(TWO, 1, 9, "auto") == [WorkerSlot("a", 4, 4), WorkerSlot("b", 8, 8)]
    assert one_per_node(TWO, 1, 1, "auto") == [WorkerSlot("a", 4, 4)]
    assert one_per_node(TWO, 1, 9, 3) == [WorkerSlot("a", 3, 3), WorkerSlot("b", 3, 3)]
    assert one_per_node(Nodes({}), 1, 9, "auto") == []


def test_several_workers_per_node_if_there_are_too_few_nodes() -> None:
    assert one_per_node(TWO, 3, 9, "auto") == [*[WorkerSlot("a", 2, 2)] * 2, WorkerSlot("b", 8, 8)]
    # More workers or threads than CPUs: Ray can still place them.
    assert one_per_node(Nodes({"a": 2}), 4, 4, "auto") == [WorkerSlot("a", 1, 0.5)] * 4
    assert one_per_node(Nodes({"a": 2}), 2, 2, 8) == [WorkerSlot("a", 8, 1)] * 2


def test_as_many_workers_of_some_threads_as_fit() -> None:
    assert with_threads(TWO, 4, 9) == [WorkerSlot("a", 4, 4), *[WorkerSlot("b", 4, 4)] * 2]
    assert with_threads(TWO, 5, 9) == [WorkerSlot("b", 5, 5)]
    assert len(with_threads(TWO, 1, 7)) == 7


def test_the_most_threads_for_which_all_workers_fit() -> None:
    assert [max_threads(TWO, workers) for workers in (1, 2, 3, 4, 12, 13)] == [8, 4, 4, 2, 1, 1]
    assert max_threads(Nodes({}), 2) == 1


class Query:
    """A query of a cluster that the test changes; counts its calls."""

    def __init__(self, alive: Mapping[str, int]) -> None:
        self.alive = alive
        self.draining = frozenset[str]()
        self.lost = False
        self._called = threading.Semaphore(0)

    def __call__(self) -> tuple[Mapping[str, int], frozenset[str]]:
        self._called.release()
        if self.lost:
            raise ConnectionError
        return self.alive, self.draining

    def twice(self) -> None:
        """Wait for two queries: the result of the first is stored before the second."""
        while self._called.acquire(blocking=False):
            pass
        for _ in range(2):
            assert self._called.acquire(timeout=30)


def test_nodes_that_join_drain_and_leave() -> None:
    query = Query({"small": 2, "large": 8, "own": 4, "none": 0})
    with closing(NodeWatch("own", query, seconds=0.005)) as watch:
        first = watch.nodes
        assert list(first.cpus) == ["own", "large", "small"]
        query.twice()
        assert watch.nodes is first  # nothing has changed
        query.alive = {**query.alive, "new": 64}
        query.twice()
        assert list(watch.nodes.cpus) == ["own", "large", "small", "new"]
        query.draining = frozenset({"large"})
        query.twice()
        assert list(watch.nodes.cpus) == ["own", "small", "new"]
        assert watch.nodes.draining == frozenset({"large"})
        query.lost = True
        query.twice()
        assert "own" in watch.nodes.cpus  # as last queried
        query.lost, query.draining, query.alive = False, frozenset(), {"own": 4}
        query.twice()
        assert watch.nodes == Nodes({"own": 4})
