"""A crew of workers that only exist here, on a cluster and a clock of their own; no Ray."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from batchgrad_engine.executors.protocol import ClusterLost, ExecutorEvent
from batchgrad_engine.executors.ray.pending_workers import NotStarted
from batchgrad_engine.executors.ray.placement import Nodes, WorkerSlot
from batchgrad_engine.executors.ray.worker_group import WorkerGroup
from batchgrad_workers.runtime.build_info import build
from batchgrad_workers.runtime.ipc import ConnectInfo


class Identity(NamedTuple):
    """What a crew asks of a worker's identity."""

    node: str
    host: str
    pid: int
    build: Any


@dataclass
class Fake:
    """A worker; on a `World` that decides when it is ready."""

    number: int
    seat: WorkerSlot
    world: "World"
    asked_at: float
    actor: None = None
    offer: None = None
    unconnected: None = None
    line: Any = None
    identity: Identity | None = None
    waits_for_room: bool = False
    killed: bool = False

    @property
    def node(self) -> str:
        return self.seat.node

    def ready(self) -> Identity | None:
        if self.seat.node in self.world.broken:
            raise self.world.broken[self.seat.node]
        reserved = sum(each.seat.cpus for each in self.world.there() if each.node == self.node)
        size = self.world.nodes.cpus.get(self.node, 0)
        self.waits_for_room = reserved + self.seat.cpus > size - self.world.taken
        if self.waits_for_room or self.world.now - self.asked_at < self.world.seconds:
            return None
        self.identity = Identity(self.node, f"host {self.node}", self.number, build())
        return self.identity

    def silent(self) -> bool:
        return False

    def kill(self) -> None:
        self.killed = True
        if self.line:
            self.line.close()


@dataclass
class World:
    """A cluster, where `taken` CPUs of each node are somebody else's; waiting makes time pass."""

    nodes: Nodes
    seconds: float = 0.5
    taken: int = 0
    now: float = 1000.0
    broken: dict[str, NotStarted] = field(default_factory=dict)
    started: list[tuple[float, Fake]] = field(default_factory=list)
    happenings: list[ExecutorEvent] = field(default_factory=list)
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    own_node: str = "here"
    gone: bool = False

    def there(self) -> list[Fake]:
        """Who has its CPUs."""
        return [each for _, each in self.started if each.identity and not each.killed]

    def start(self, number: int, seat: WorkerSlot, offer: ConnectInfo | None) -> Fake:  # noqa: ARG002  # Hire's
        self.started.append((self.now, Fake(number, seat, self, self.now)))
        return self.started[-1][1]

    def wait(self, coming: Sequence[Any], seconds: float) -> None:  # noqa: ARG002
        self.now += seconds
        assert self.now < 20_000, "it waits for ever"
        for at, change in list(self.later):
            if self.now >= at:
                self.later.remove((at, change))
                change()

    def check(self) -> None:
        if self.gone:
            raise ClusterLost("no Ray head answers any more.")

    def passes(self, crew: WorkerGroup, seconds: float) -> None:
        """Steps of a tenth of a second."""
        until = self.now + seconds
        while self.now < until:
            crew.follow()
            self.wait([], 0.1)

    def told(self, event: str) -> list[Any]:
        """What was said of such an event."""
        return [each.data for each in self.happenings if each.event == event]

    def crew(
        self,
        seats: Callable[[Nodes], Sequence[WorkerSlot]],
        least: int = 1,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> WorkerGroup:
        """Nobody has come yet."""
        return WorkerGroup(
            self,
            seats=seats,
            nodes=lambda: self.nodes,
            least=least,
            start_seconds=60,
            patience_seconds=60,
            interrupted=interrupted,
            tell=self.happenings.append,
            clock=lambda: self.now,
        )
