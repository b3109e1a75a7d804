"""The nodes of a Ray cluster, looked at each second by a thread of its own."""

import threading
from collections.abc import Callable, Mapping

import ray
from ray._private.state import state  # the only place that tells who is being drained

from batchgrad_engine.executors.ray.connection import cluster_errors
from batchgrad_engine.executors.ray.placement import Nodes

LOOK_SECONDS = 1.0
LEAVE_SECONDS = 2.0


def look() -> tuple[Mapping[str, int], frozenset[str]]:
    """CPUs of every node that is alive, and who is being drained. Raises ClusterLost."""
    with cluster_errors():
        alive = {n["NodeID"]: int(n["Resources"].get("CPU", 0)) for n in ray.nodes() if n["Alive"]}
        return alive, frozenset(state.get_draining_nodes())


def watch() -> "NodeWatch":
    """Over the cluster that this process is connected to. Raises ClusterLost."""
    return NodeWatch(ray.get_runtime_context().get_node_id())


class NodeWatch:
    """`nodes` is the cluster as it was seen last: the same object until something changes."""

    def __init__(
        self,
        first: str,
        look: Callable[[], tuple[Mapping[str, int], frozenset[str]]] = look,
        seconds: float = LOOK_SECONDS,
    ) -> None:
        """Look once, then go on. `first` is the node to use before all others: the engine's own.

        Raises:
            ClusterLost: there is no cluster.
        """
        self._look = look
        self._seconds = seconds
        self._over = threading.Event()
        alive, draining = look()
        order = sorted(alive, key=lambda node: (node != first, -alive[node], node))
        self.nodes = _usable({node: alive[node] for node in order}, draining)
        self._thread = threading.Thread(target=self._watch, name="nodes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more. A look that hangs, because the head is gone, is not waited for."""
        self._over.set()
        self._thread.join(LEAVE_SECONDS)

    def _watch(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                alive, draining = self._look()
            except Exception:  # noqa: BLE001, S112  # workers tell of a loss; a head may come back
                continue
            known = {node: alive[node] for node in self.nodes.cpus if node in alive}
            seen = _usable({**known, **alive}, draining)
            if seen != self.nodes:
                self.nodes = seen


def _usable(alive: Mapping[str, int], draining: frozenset[str]) -> Nodes:
    cpus = {node: cpus for node, cpus in alive.items() if cpus and node not in draining}
    return Nodes(cpus, draining)
