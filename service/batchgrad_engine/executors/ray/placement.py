"""On which nodes of a cluster workers belong, and with how many threads. Knows no Ray."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

Threads = int | Literal["auto"]


class Nodes(NamedTuple):
    """A cluster at one moment: CPUs of each node that may be used, by id; who came first is first.

    `draining` nodes are about to go: they are among the others no longer. A private cluster's
    only node is nobody's business.
    """

    cpus: Mapping[str, int] = MappingProxyType({})
    draining: frozenset[str] = frozenset()


class WorkerSlot(NamedTuple):
    """A place for one worker: on which node ("" is any), its threads, the CPUs that it reserves."""

    node: str
    threads: int
    cpus: float


def one_a_node(nodes: Nodes, least: int, most: int, threads: Threads) -> list[WorkerSlot]:
    """A worker on each of at most `most` nodes, with all its CPUs as threads.

    If there are fewer nodes than `least`, some have several workers, which share the CPUs.
    """
    names = list(nodes.cpus)[:most]
    seats = []
    for place, node in enumerate(names):
        workers = max(1, -(-(least - place) // len(names)))
        cpus = nodes.cpus[node]
        share = cpus // workers
        wanted = max(1, share) if threads == "auto" else threads
        seats += [WorkerSlot(node, wanted, min(wanted, share) or cpus / workers)] * workers
    return seats


def with_threads(nodes: Nodes, threads: int, most: int) -> list[WorkerSlot]:
    """Workers of so many threads, as many as there are CPUs for, and `most` altogether."""
    return [
        WorkerSlot(node, threads, threads)
        for node, cpus in nodes.cpus.items()
        for _ in range(cpus // threads)
    ][:most]


def most_threads(nodes: Nodes, workers: int) -> int:
    """The most threads with which the cluster has room for so many workers; at least one."""
    largest = max([1, *nodes.cpus.values()])
    fits = (
        threads
        for threads in range(largest, 0, -1)
        if sum(cpus // threads for cpus in nodes.cpus.values()) >= workers
    )
    return next(fits, 1)
