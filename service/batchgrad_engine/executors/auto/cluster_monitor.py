"""A cluster's nodes, looked at in the background: each second, after failures more seldom."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial

from batchgrad_engine.executors.auto.cluster import Cluster
from batchgrad_engine.executors.background import background
from batchgrad_workers.system.backoff import Backoff

LOOK_SECONDS = 1.0
"""How often the nodes are looked at."""

AGAIN_SECONDS = 30.0
"""After the first failure of a cluster that may come back."""

LONGEST_SECONDS = 600.0

Nodes = Mapping[str, int]


class ClusterMonitor:
    """`nodes` are the CPUs of `cluster`'s as last seen; None before that, and after a failure."""

    def __init__(
        self, cluster: Cluster, interrupted: Callable[[], bool], clock: Callable[[], float]
    ) -> None:
        """`interrupted` says that nobody wants to know any more."""
        self.cluster = cluster
        self.nodes: Nodes | None = None
        self._interrupted = interrupted
        self._clock = clock
        self._under_way: Future[Nodes] | None = None
        self._looked_at = 0.0
        self._backoff = Backoff(AGAIN_SECONDS, LONGEST_SECONDS)
        self._failed = False

    @property
    def pending(self) -> list[Future[Nodes]]:
        """The look that is under way, if one is."""
        return [self._under_way] if self._under_way else []

    def look(self) -> None:
        """Begin to look, in the background."""
        self._under_way = background(partial(self.cluster.nodes, self._interrupted))

    def news(self) -> Nodes | None:
        """The nodes, if they are others than before; or begins the next look, if it is time.

        Raises:
            ClusterLost, Interrupted: as the look did.
        """
        if self._under_way:
            if self._under_way.done():
                look, self._under_way, self._looked_at = self._under_way, None, self._clock()
                if (nodes := look.result()) != self.nodes:
                    self.nodes = nodes
                    return nodes
        elif not self.cluster.changes:
            return None
        elif self.nodes is not None:
            if self._clock() - self._looked_at > LOOK_SECONDS:
                self.look()
        elif self._failed and self._clock() > self._backoff.until:
            self._failed = False
            self._under_way = background(self._anew)
        return None

    def fail(self) -> float | None:
        """The cluster was of no use: seconds until it is looked at again; None if it never is."""
        self.nodes = None
        if not self.cluster.changes:
            return None
        self._failed = True
        return self._backoff.fail(self._clock())

    def _anew(self) -> Nodes:
        """By a new connection: the old one gets nobody from a head that was started afresh."""
        self.cluster.leave()
        return self.cluster.nodes(self._interrupted)
