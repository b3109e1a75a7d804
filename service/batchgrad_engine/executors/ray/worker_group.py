"""The workers of one job on Ray: who is there, who is missing, who has to leave."""

from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Protocol

from batchgrad_engine.executors.protocol import (
    ClusterLost,
    EventSink,
    ExecutorEvent,
    Interrupted,
    Traffic,
)
from batchgrad_engine.executors.ray.diagnostics import (
    NO_ROOM,
    could_hold,
    nobody_came,
    some_room,
)
from batchgrad_engine.executors.ray.pending_workers import PendingWorkers
from batchgrad_engine.executors.ray.placement import Nodes, WorkerSlot
from batchgrad_engine.executors.ray.worker_connections import WorkerConnections
from batchgrad_engine.executors.scheduler.scheduler import POLL_SECONDS
from batchgrad_engine.failures import NoWorkers
from batchgrad_workers.runtime.build_info import build
from batchgrad_workers.runtime.ipc import ConnectInfo

EAGER_SECONDS = 5.0
"""How long those who have come wait for the others, if they are enough."""

LOOK_SECONDS = 1.0
"""How often, while nobody comes, the cluster itself is looked at."""

OVERLAP_SECONDS = 10.0
"""How long the last worker in an old seat works on while nobody has come to a new one."""


class WorkerLauncher(Protocol):
    """How workers are started and waited for: as by `ray_actor.Actors`."""

    own_node: str

    def start(self, number: int, seat: WorkerSlot, offer: ConnectInfo | None) -> Any:
        """A worker that begins to come to `seat`."""

    def wait(self, coming: Sequence[Any], seconds: float) -> None:
        """Until one of them has news; so long at most."""

    def check(self) -> None:
        """Raises ClusterLost when the cluster is gone; workers that come say nothing of that."""


class WorkerGroup:
    """A worker in every seat; whoever is lost is replaced, and seats follow the cluster."""

    def __init__(
        self,
        hire: WorkerLauncher,
        *,
        seats: Callable[[Nodes], Sequence[WorkerSlot]],
        nodes: Callable[[], Nodes],
        least: int,
        start_seconds: float,
        patience_seconds: float,
        interrupted: Callable[[], bool],
        tell: EventSink,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`seats` are wanted on the cluster `nodes`.

        At the start `least` workers are waited for, up to `start_seconds`; `patience_seconds` when
        all of them are lost later.
        """
        self.alive: list[Any] = []
        self._seats = seats
        self._nodes = nodes
        self._seen = nodes()
        self._wanted = Counter(seats(self._seen))
        self._least = least
        self._misplaced: list[Any] = []
        self._overlap_until = 0.0
        self._start_seconds = start_seconds
        self._patience_seconds = patience_seconds
        self._check = hire.check
        self._interrupted = interrupted
        self._tell = tell
        self._clock = clock
        self._had_somebody = False
        self._told_of_room: set[bool] = set()
        self._lines = WorkerConnections(hire.own_node)
        self._recruits = PendingWorkers(
            lambda number, seat: hire.start(number, seat, self._lines.offer()), hire.wait, clock
        )

    def everybody(self) -> None:
        """Wait until all have come, or enough of them, or until that took too long.

        While others have all the CPUs, that is as long as it takes.

        Raises:
            NoWorkers: not one can be started, or the cluster is too small.
            ClusterLost: it is gone, or not one came within `start_seconds` and it does not say why.
            Interrupted: the engine has to go.
        """
        eager_until = self._clock() + EAGER_SECONDS

        def enough() -> bool:
            if len(self.alive) >= self._least and self._clock() > eager_until:
                return True
            return bool(self.alive) and not self._recruits.coming

        self._wait(enough, self._start_seconds)

    def somebody(self) -> None:
        """Wait until there is one. Raises ClusterLost, Interrupted."""
        if not self.alive:
            self._wait(lambda: bool(self.alive), self._patience_seconds)

    def follow(self) -> None:
        """Between two steps: take in who has come, and be where the cluster has room now."""
        self._admit(0)
        nodes = self._nodes()
        if nodes is not self._seen:
            self._seen, self._wanted = nodes, Counter(self._seats(nodes))
            self._overlap_until = self._clock() + OVERLAP_SECONDS
            self._sort_out()
        if self._misplaced:
            self._replace()
        self._fill()

    def silent(self, workers: Sequence[Any]) -> list[Any]:
        """Those of them that leave a ping unanswered."""
        return [worker for worker in workers if worker.silent()]

    def lose(self, worker: Any, reason: str, detail: str) -> None:
        """Strike a worker off and start another in its place; nothing if it is off already."""
        if worker not in self.alive:
            return
        self.alive.remove(worker)
        self._end(worker, reason, detail)
        self._fill()

    def places(self) -> tuple[list[str], int]:
        """Nodes that a worker is on, and how many workers are still coming."""
        return sorted({worker.node for worker in self.alive}), len(self._recruits.coming)

    def traffic(self) -> Traffic:
        """Bytes that travelled since the last call."""
        return self._lines.traffic()

    def dismiss(self) -> None:
        """End all workers."""
        for worker in [*self.alive, *self._recruits.coming]:
            worker.kill()
        self._lines.close()

    def _sort_out(self) -> None:
        """The seats have changed: dismiss who can't stay, and see who sits where none is."""
        left = self._wanted.copy()
        self._misplaced = []
        for worker in [*self.alive, *self._recruits.coming]:
            if worker.node in self._seen.draining:
                self._dismiss(worker, "its node is being drained")
            elif left[worker.seat]:
                left[worker.seat] -= 1
            elif worker in self.alive and worker.node in self._seen.cpus:
                self._misplaced.append(worker)
            else:
                self._dismiss(worker, "the cluster has changed: its place is given up")

    def _replace(self) -> None:
        """Dismiss who sits where no seat is; the last one not before somebody else is there."""
        self._misplaced = [worker for worker in self._misplaced if worker in self.alive]
        others = len(self.alive) > len(self._misplaced) or self._clock() > self._overlap_until
        while len(self._misplaced) > (0 if others else 1):
            detail = "the cluster has changed: its place is given up"
            self._dismiss(self._misplaced.pop(), detail)

    def _fill(self) -> None:
        """Start who is missing."""
        there = [*self.alive, *self._recruits.coming]
        if len(there) - len(self._misplaced) < self._wanted.total():
            self._recruits.fill(self._wanted - Counter(worker.seat for worker in there))

    def _admit(self, seconds: float) -> None:
        """Take in workers that are ready to work; tell of those that failed to start."""
        ready, failed = self._recruits.admit(seconds)
        for worker in ready:
            self._welcome(worker)
        for worker, why in failed:
            self._tell_loss(worker, "start_failed", why)

    def _wait(self, enough: Callable[[], bool], seconds: float) -> None:
        deadline = self._clock() + seconds
        look_at = self._clock()
        while not enough():
            if self._interrupted():
                raise Interrupted
            if self._clock() >= look_at:
                self._check()
                look_at = self._clock() + LOOK_SECONDS
            self.follow()
            self._admit(POLL_SECONDS)
            if self.alive and self._waits_for_room():
                self._tell_of_room(some_room(self._wanted.total(), seconds))
            if not self.alive and (self._has_no_room() or self._is_preparing()):
                deadline = max(deadline, self._clock() + seconds / 2)  # that takes what it takes
            elif self._clock() > deadline:
                if self.alive:
                    return
                why = nobody_came(
                    self._seen,
                    self._wanted,
                    seconds,
                    self._had_somebody,
                    self._recruits.failure,
                )
                # Ray may have started afresh: an old driver gets nobody there, and hears nothing.
                unexplained = could_hold(self._seen, self._wanted) and not self._recruits.failure
                raise ClusterLost(why) if self._had_somebody or unexplained else NoWorkers(why)

    def _has_no_room(self) -> bool:
        """Whether workers wait only for CPUs that others have, or for nodes; told once."""
        waits = self._waits_for_room() or not self._wanted
        if self._had_somebody or not waits or not could_hold(self._seen, self._wanted):
            return False
        self._tell_of_room(NO_ROOM)
        return True

    def _waits_for_room(self) -> bool:
        return any(worker.waits_for_room for worker in self._recruits.coming)

    def _tell_of_room(self, text: str) -> None:
        """Once while nobody is there, once when somebody is."""
        if bool(self.alive) not in self._told_of_room:
            self._told_of_room.add(bool(self.alive))
            self._tell(ExecutorEvent("warning", {"detail": text}))

    def _is_preparing(self) -> bool:
        """Whether somebody is alive and fetches the dataset."""
        return any(worker.identity for worker in self._recruits.coming)

    def _welcome(self, worker: Any) -> None:
        identity = worker.identity
        worker.line = self._lines.line(worker)
        self.alive.append(worker)
        self._had_somebody = True
        data = {"worker": worker.number, "host": identity.host, "pid": identity.pid}
        self._tell(ExecutorEvent("worker_joined", data))
        if identity.build != (own := build()):
            text = (
                f"Worker {worker.number} on {identity.host} has {identity.build}, the engine "
                f"{own}: results are right, but their last bits may depend on who computes what."
            )
            self._tell(ExecutorEvent("warning", {"detail": text}))
        if worker.unconnected and worker.line.transport == "ray":
            text = (
                f"Worker {worker.number} is on the engine's node but can't reach its socket "
                f"({worker.unconnected}): its arrays travel through Ray, which is slower."
            )
            self._tell(ExecutorEvent("warning", {"detail": text}))

    def _dismiss(self, worker: Any, detail: str) -> None:
        """Send away somebody who has nothing to do."""
        if worker in self._recruits.coming:
            self._recruits.dismiss(worker)
            return
        self.alive.remove(worker)
        gone = worker.node not in self._seen.cpus and worker.node not in self._seen.draining
        if gone:
            self._end(worker, "died", "its node is gone")
        else:
            self._end(worker, "dismissed", detail)

    def _end(self, worker: Any, reason: str, detail: str) -> None:
        worker.kill()
        self._tell_loss(worker, reason, detail)

    def _tell_loss(self, worker: Any, reason: str, detail: str) -> None:
        data: dict[str, Any] = {"worker": worker.number, "reason": reason, "detail": detail}
        if worker.identity:
            data |= {"host": worker.identity.host, "pid": worker.identity.pid}
        self._tell(ExecutorEvent("worker_lost", data))
