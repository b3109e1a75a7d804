"""A worker group of fake workers, on a cluster and a clock that exist only here; no Ray."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchgrad_engine.executors.protocol import ClusterLost, ExecutorEvent
from batchgrad_engine.executors.ray.placement import Nodes, WorkerSlot
from batchgrad_engine.executors.ray.protocol import StartFailed
from batchgrad_engine.executors.ray.worker_group import WorkerGroup
from batchgrad_engine.executors.scheduler.protocol import WorkerConnection
from batchgrad_workers.runtime.actor import Identity
from batchgrad_workers.runtime.build_info import build_info
from batchgrad_workers.runtime.ipc import ConnectInfo


@dataclass
class FakeWorker:
    """A worker of a `FakeCluster`, which decides when it is ready."""

    number: int
    slot: WorkerSlot
    cluster: "FakeCluster"
    started_at: float
    handle: None = None
    connect_info: ConnectInfo | None = None
    connect_error: str | None = None
    identity: Identity | None = None
    last_contact_at: float = 0.0
    waits_for_cpus: bool = False
    killed: bool = False
    _connection: WorkerConnection | None = None

    @property
    def node(self) -> str:
        return self.slot.node

    @property
    def connection(self) -> WorkerConnection:
        assert self._connection
        return self._connection

    def connect(self, connection: WorkerConnection) -> None:
        self._connection = connection

    def poll_ready(self) -> Identity | None:
        if self.slot.node in self.cluster.broken:
            raise self.cluster.broken[self.slot.node]
        reserved = sum(each.slot.cpus for each in self.cluster.running() if each.node == self.node)
        size = self.cluster.nodes.cpus.get(self.node, 0)
        self.waits_for_cpus = reserved + self.slot.cpus > size - self.cluster.taken
        if self.waits_for_cpus or self.cluster.now - self.started_at < self.cluster.seconds:
            return None
        self.identity = Identity(
            self.number,
            self.node,
            f"host {self.node}",
            self.cluster.builds.get(self.node, build_info()),
        )
        return self.identity

    def is_unresponsive(self) -> bool:
        return False

    def kill(self) -> None:
        self.killed = True
        if self._connection:
            self._connection.close()


@dataclass
class FakeCluster:
    """A launcher on `nodes`, where others use `taken` CPUs of each; `wait` moves the clock.

    A worker takes `seconds` to start, and fails on the nodes in `broken`. `builds` are of nodes
    that differ from the engine's.
    """

    nodes: Nodes
    seconds: float = 0.5
    taken: int = 0
    now: float = 1000.0
    broken: dict[str, StartFailed] = field(default_factory=dict)
    started: list[tuple[float, FakeWorker]] = field(default_factory=list)
    events: list[ExecutorEvent] = field(default_factory=list)
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    builds: dict[str, dict[str, str]] = field(default_factory=dict)
    own_node: str = "here"
    gone: bool = False

    def running(self) -> list[FakeWorker]:
        """Workers that have their CPUs."""
        return [each for _, each in self.started if each.identity and not each.killed]

    def start(self, number: int, slot: WorkerSlot, connect_info: ConnectInfo | None) -> FakeWorker:
        worker = FakeWorker(number, slot, self, self.now, connect_info=connect_info)
        self.started.append((self.now, worker))
        return worker

    def wait(self, starting: Sequence[FakeWorker], seconds: float) -> None:  # noqa: ARG002
        self.now += seconds
        assert self.now < 20_000, "it waits for ever"
        for at, change in list(self.later):
            if self.now >= at:
                self.later.remove((at, change))
                change()

    def check(self) -> None:
        if self.gone:
            raise ClusterLost("no Ray head answers any more.")

    def run_steps(self, group: WorkerGroup[FakeWorker], seconds: float) -> None:
        """Steps of a tenth of a second each."""
        until = self.now + seconds
        while self.now < until:
            group.match_slots()
            self.wait([], 0.1)

    def data_of(self, event: str) -> list[dict[str, Any]]:
        """The data of all events of a type."""
        return [each.data for each in self.events if each.event == event]

    def group(
        self,
        slots: Callable[[Nodes], Sequence[WorkerSlot]],
        min_workers: int = 1,
        interrupted: Callable[[], bool] = lambda: False,
        *,
        same_build: bool = False,
    ) -> WorkerGroup[FakeWorker]:
        """A group without workers yet."""
        return WorkerGroup(
            self,
            slots=slots,
            nodes=lambda: self.nodes,
            min_workers=min_workers,
            start_timeout_seconds=60,
            replacement_timeout_seconds=60,
            interrupted=interrupted,
            same_build=same_build,
            emit=self.events.append,
            clock=lambda: self.now,
        )
