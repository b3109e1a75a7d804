"""Query a cluster's nodes in the background: each second, and less often after failures."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial

from batchgrad_engine.executors.auto.background import run_in_background
from batchgrad_engine.executors.auto.cluster import Cluster
from batchgrad_workers.system.backoff import Backoff

QUERY_SECONDS = 1.0
"""The time between two queries."""

RETRY_SECONDS = 30.0
"""The time before the first retry after a failure; it doubles with each failure."""

MAX_RETRY_SECONDS = 600.0

CpusByNode = Mapping[str, int]


class ClusterMonitor:
    """`nodes` are the CPUs of each node, as last queried; None before that and after a failure."""

    def __init__(
        self, cluster: Cluster, interrupted: Callable[[], bool], clock: Callable[[], float]
    ) -> None:
        """`interrupted` ends a query that waits for the cluster."""
        self.cluster = cluster
        self.nodes: CpusByNode | None = None
        self._interrupted = interrupted
        self._clock = clock
        self._query: Future[CpusByNode] | None = None
        self._queried_at = 0.0
        self._backoff = Backoff(RETRY_SECONDS, MAX_RETRY_SECONDS)
        self._failed = False

    @property
    def pending(self) -> list[Future[CpusByNode]]:
        """The running query, if there is one."""
        return [self._query] if self._query else []

    def query(self) -> None:
        """Start a query in the background."""
        self._query = run_in_background(partial(self.cluster.nodes, self._interrupted))

    def poll(self) -> CpusByNode | None:
        """The nodes if they have changed, else None; starts the next query when it is due.

        Raises:
            ClusterLost, Interrupted: raised by the query.
        """
        if self._query:
            if self._query.done():
                query, self._query, self._queried_at = self._query, None, self._clock()
                if (nodes := query.result()) != self.nodes:
                    self.nodes = nodes
                    return nodes
        elif not self.cluster.is_elastic:
            return None
        elif self.nodes is not None:
            if self._clock() - self._queried_at > QUERY_SECONDS:
                self.query()
        elif self._failed and self._clock() > self._backoff.until:
            self._failed = False
            self._query = run_in_background(self._reconnect)
        return None

    def fail(self) -> float | None:
        """Note a failure of the cluster; the seconds until it is queried again, None if never."""
        self.nodes = None
        if not self.cluster.is_elastic:
            return None
        self._failed = True
        return self._backoff.fail(self._clock())

    def _reconnect(self) -> CpusByNode:
        """Query over a new connection: a restarted head does not serve the old one."""
        self.cluster.disconnect()
        return self.cluster.nodes(self._interrupted)
