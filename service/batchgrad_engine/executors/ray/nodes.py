"""Watch the nodes of a Ray cluster: a thread queries them each second."""

import threading
from collections.abc import Callable, Mapping
from functools import partial

import ray
from ray._private.state import state  # the only source for draining nodes

from batchgrad_engine.executors.ray.connection import cluster_errors
from batchgrad_engine.executors.ray.placement import Nodes

CHECK_SECONDS = 1.0
CLOSE_SECONDS = 2.0


def query(num_gpus: float = 0.0) -> tuple[Mapping[str, int], frozenset[str]]:
    """The CPUs of every node that is alive, and the nodes being drained.

    For workers with `num_gpus` GPUs each, as many CPUs as there is room for such workers.

    Raises:
        ClusterLost: the cluster does not answer.
    """
    with cluster_errors():
        alive = {n["NodeID"]: _room(n["Resources"], num_gpus) for n in ray.nodes() if n["Alive"]}
        return alive, frozenset(state.get_draining_nodes())


def _room(resources: Mapping[str, float], num_gpus: float) -> int:
    cpus = int(resources.get("CPU", 0))
    return min(cpus, int(resources.get("GPU", 0) / num_gpus)) if num_gpus else cpus


def watch(num_gpus: float = 0.0) -> "NodeWatch":
    """Watch the cluster that this process is connected to. Raises ClusterLost."""
    return NodeWatch(ray.get_runtime_context().get_node_id(), partial(query, num_gpus))


class NodeWatch:
    """`nodes` is the cluster as last queried: the same object until something changes."""

    def __init__(
        self,
        first: str,
        query: Callable[[], tuple[Mapping[str, int], frozenset[str]]] = query,
        seconds: float = CHECK_SECONDS,
    ) -> None:
        """Query once, then every `seconds` in a thread.

        `first` is the node to use before all others: the engine's own.

        Raises:
            ClusterLost: there is no cluster.
        """
        self._query = query
        self._seconds = seconds
        self._closed = threading.Event()
        alive, draining = query()
        order = sorted(alive, key=lambda node: (node != first, -alive[node], node))
        self.nodes = _usable({node: alive[node] for node in order}, draining)
        self._thread = threading.Thread(target=self._watch, name="nodes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching; wait up to CLOSE_SECONDS for a query, which hangs if the head is gone."""
        self._closed.set()
        self._thread.join(CLOSE_SECONDS)

    def _watch(self) -> None:
        while not self._closed.wait(self._seconds):
            try:
                alive, draining = self._query()
            except Exception:  # noqa: BLE001, S112  # workers notice a lost head; it may return
                continue
            known = {node: alive[node] for node in self.nodes.cpus if node in alive}
            seen = _usable({**known, **alive}, draining)
            if seen != self.nodes:
                self.nodes = seen


def _usable(alive: Mapping[str, int], draining: frozenset[str]) -> Nodes:
    cpus = {node: cpus for node, cpus in alive.items() if cpus and node not in draining}
    return Nodes(cpus, draining)
