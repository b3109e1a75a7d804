"""Choose worker slots for a cluster: on which nodes, with how many threads. Does not import Ray."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

Threads = int | Literal["auto"]


class Nodes(NamedTuple):
    """A cluster at one moment: the CPUs of each usable node, by its id.

    The engine's own node is first and nodes that joined later are last. `draining` nodes are
    about to leave and are not in `cpus`. Both are empty for a private cluster.
    """

    cpus: Mapping[str, int] = MappingProxyType({})
    draining: frozenset[str] = frozenset()


class WorkerSlot(NamedTuple):
    """A place for one worker: its node ("" is any), its threads, and the CPUs it reserves."""

    node: str
    threads: int
    cpus: float


def one_per_node(
    nodes: Nodes, min_workers: int, max_workers: int, threads: Threads
) -> list[WorkerSlot]:
    """One worker on each of at most `max_workers` nodes, with one thread per CPU.

    With fewer nodes than `min_workers`, some nodes get several workers, which divide the CPUs.
    """
    names = list(nodes.cpus)[:max_workers]
    slots = []
    for position, node in enumerate(names):
        workers = max(1, -(-(min_workers - position) // len(names)))
        cpus = nodes.cpus[node]
        cpus_each = cpus // workers
        wanted = max(1, cpus_each) if threads == "auto" else threads
        slots += [WorkerSlot(node, wanted, min(wanted, cpus_each) or cpus / workers)] * workers
    return slots


def with_threads(nodes: Nodes, threads: int, max_workers: int) -> list[WorkerSlot]:
    """Workers of `threads` threads: as many as there are CPUs for, up to `max_workers`."""
    return [
        WorkerSlot(node, threads, threads)
        for node, cpus in nodes.cpus.items()
        for _ in range(cpus // threads)
    ][:max_workers]


def max_threads(nodes: Nodes, workers: int) -> int:
    """The largest number of threads for which `workers` workers fit on the cluster; at least 1."""
    largest = max([1, *nodes.cpus.values()])
    fits = (
        threads
        for threads in range(largest, 0, -1)
        if sum(cpus // threads for cpus in nodes.cpus.values()) >= workers
    )
    return next(fits, 1)
