"""The Ray actors of one job: who is there, who is coming, who has to leave."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import ray

from batchgrad_service.engine.executors.dispatch import POLL_SECONDS
from batchgrad_service.engine.executors.memory_lines import MemoryLines
from batchgrad_service.engine.executors.placement import Nodes, Seat
from batchgrad_service.engine.executors.protocol import (
    ClusterLost,
    Happening,
    Interrupted,
    Tell,
    Traffic,
)
from batchgrad_service.engine.executors.ray_actor import Actor, NotStarted, silent
from batchgrad_service.engine.executors.ray_calls import RayLine, RayLines
from batchgrad_service.engine.executors.team import Line
from batchgrad_service.engine.failures import NoWorkers
from batchgrad_workers.build import build
from batchgrad_workers.worker import Identity

AGAIN_SECONDS = 2.0
"""How long to wait after a worker could not be started."""

EAGER_SECONDS = 5.0
"""How long those who have come wait for the others, if they are enough."""


class Crew:
    """An actor in every seat; whoever is lost is replaced, and seats follow the cluster."""

    def __init__(
        self,
        setup: Any,
        *,
        seats: Callable[[Nodes], Sequence[Seat]],
        nodes: Callable[[], Nodes],
        least: int,
        silence_seconds: float,
        start_seconds: float,
        patience_seconds: float,
        interrupted: Callable[[], bool],
        tell: Tell,
    ) -> None:
        """`setup` is an ObjectRef of the job's Setup; `seats` are wanted on the cluster `nodes`.

        At the start `least` workers are waited for, up to `start_seconds`; `patience_seconds` when
        all of them are lost later.
        """
        self.alive: list[Actor] = []
        self._seats = seats
        self._nodes = nodes
        self._seen = nodes()
        self._wanted = Counter(seats(self._seen))
        self._least = least
        self._last_failure = ""
        self._coming: list[Actor] = []
        self._setup = setup
        self._silence = silence_seconds
        self._start_seconds = start_seconds
        self._patience_seconds = patience_seconds
        self._interrupted = interrupted
        self._tell = tell
        self._started = 0
        self._had_somebody = False
        self._fill_again_at = 0.0
        self._own_node = ray.get_runtime_context().get_node_id()
        self._memory_lines = _memory_lines(self._own_node)
        self._ray_lines = RayLines()

    def everybody(self) -> None:
        """Wait until all have come, or enough of them, or until that took too long.

        Raises:
            NoWorkers: not one came within `start_seconds`.
            Interrupted: the engine has to go.
        """
        eager_until = monotonic() + EAGER_SECONDS

        def enough() -> bool:
            if len(self.alive) >= self._least and monotonic() > eager_until:
                return True
            return bool(self.alive) and not self._coming

        self._wait(enough, self._start_seconds)

    def somebody(self) -> None:
        """Wait until there is one. Raises ClusterLost, Interrupted."""
        if not self.alive:
            self._wait(lambda: bool(self.alive), self._patience_seconds)

    def follow(self) -> None:
        """Between two steps: take in who has come, and be where the cluster has room now."""
        self._admit(timeout_seconds=0)
        nodes = self._nodes()
        if nodes is not self._seen:
            self._seen, self._wanted = nodes, Counter(self._seats(nodes))
            left = self._wanted.copy()
            for worker in [*self.alive, *self._coming]:
                if worker.node in nodes.draining:
                    self._dismiss(worker, "its node is being drained")
                elif not left[worker.seat]:
                    self._dismiss(worker, "the cluster has changed: its place is given up")
                else:
                    left[worker.seat] -= 1
        self._fill()

    def silent(self, workers: Sequence[Actor]) -> list[Actor]:
        """Those of them that leave a ping unanswered."""
        return [worker for worker in workers if silent(worker, self._silence)]

    def lose(self, worker: Actor, reason: str, detail: str) -> None:
        """Strike a worker off and start another in its place; nothing if it is off already."""
        if worker not in self.alive:
            return
        self.alive.remove(worker)
        self._end(worker, reason, detail)
        self._fill()

    def places(self) -> tuple[list[str], int]:
        """Nodes that a worker is on, and how many workers are still coming."""
        return sorted({worker.node for worker in self.alive}), len(self._coming)

    def traffic(self) -> Traffic:
        """Bytes that travelled since the last call."""
        found = Traffic(self._ray_lines.traffic)
        self._ray_lines.traffic.clear()
        if self._memory_lines:
            found += self._memory_lines.traffic
            self._memory_lines.traffic.clear()
        return found

    def dismiss(self) -> None:
        """End all actors."""
        for worker in [*self.alive, *self._coming]:
            worker.kill(self._own_node)
        if self._memory_lines:
            self._memory_lines.close()

    def _fill(self) -> None:
        """Start who is missing; after a failure, not at once again."""
        there = [*self.alive, *self._coming]
        if len(there) >= self._wanted.total() or monotonic() < self._fill_again_at:
            return
        for seat in (self._wanted - Counter(worker.seat for worker in there)).elements():
            offer = self._memory_lines.offer() if self._memory_lines else None
            self._coming.append(Actor(self._started, seat, self._setup, offer))
            self._started += 1

    def _admit(self, timeout_seconds: float) -> None:
        """Take in actors that are ready to work; give up those that failed to start."""
        if not self._coming:
            return
        ray.wait([worker.awaited for worker in self._coming], timeout=timeout_seconds)
        for worker in list(self._coming):
            try:
                if identity := worker.ready(self._silence, self._start_seconds):
                    self._coming.remove(worker)
                    self._welcome(worker, identity)
            except NotStarted as error:
                self._last_failure = str(error)
                self._coming.remove(worker)
                self._end(worker, "start_failed", str(error))
                self._fill_again_at = monotonic() + AGAIN_SECONDS

    def _wait(self, enough: Callable[[], bool], seconds: float) -> None:
        deadline = monotonic() + seconds
        while not enough():
            if self._interrupted():
                raise Interrupted
            self.follow()
            self._admit(timeout_seconds=POLL_SECONDS)
            if monotonic() > deadline:
                if self.alive:
                    return
                if any(worker.identity for worker in self._coming):
                    continue  # they are alive and fetch the dataset, whatever that takes
                why = self._last_failure or "the cluster had no room for them"
                none = f"None of {self._wanted.total()} Ray workers started within {seconds:g} s"
                if self._had_somebody:  # Ray may have started afresh, where an old driver gets none
                    raise ClusterLost(f"{none} after all were lost ({why}).")
                raise NoWorkers(
                    f"{none} ({why}): look at the cluster (ray status), or ask for fewer workers."
                )

    def _welcome(self, worker: Actor, identity: Identity) -> None:
        worker.line = self._line(worker)
        self.alive.append(worker)
        self._had_somebody = True
        data = {"worker": worker.number, "host": identity.host, "pid": identity.pid}
        self._tell(Happening("worker_joined", data))
        if identity.build != (own := build()):
            text = (
                f"Worker {worker.number} on {identity.host} has {identity.build}, the engine "
                f"{own}: results are right, but their last bits may depend on who computes what."
            )
            self._tell(Happening("warning", {"detail": text}))

    def _line(self, worker: Actor) -> Line:
        """Through memory to a worker that has come to our socket, to others through Ray."""
        line = None
        if self._memory_lines and worker.offer:
            line = self._memory_lines.line(worker.offer)
        if line is None and worker.unconnected:
            text = (
                f"Worker {worker.number} is on the engine's node but can't reach its socket "
                f"({worker.unconnected}): its arrays travel through Ray, which is slower."
            )
            self._tell(Happening("warning", {"detail": text}))
        return line or RayLine(worker.actor, worker.node, self._ray_lines)

    def _dismiss(self, worker: Actor, detail: str) -> None:
        """Send away somebody who has nothing to do."""
        if worker in self._coming:
            self._coming.remove(worker)
            worker.kill(self._own_node)
            return
        self.alive.remove(worker)
        gone = worker.node not in self._seen.cpus and worker.node not in self._seen.draining
        if gone:
            self._end(worker, "died", "its node is gone")
        else:
            self._end(worker, "dismissed", detail)

    def _end(self, worker: Actor, reason: str, detail: str) -> None:
        worker.kill(self._own_node)
        data: dict[str, Any] = {"worker": worker.number, "reason": reason, "detail": detail}
        if worker.identity:
            data |= {"host": worker.identity.host, "pid": worker.identity.pid}
        self._tell(Happening("worker_lost", data))


def _memory_lines(node: str) -> MemoryLines | None:
    """None where the system has no abstract sockets or no memfd."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        return MemoryLines(node)
    except OSError:
        return None
