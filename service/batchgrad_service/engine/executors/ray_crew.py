"""The Ray actors of one job: who is there, who is coming, who has fallen silent."""

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from batchgrad_service.engine.executors.dispatch import POLL_SECONDS, Line
from batchgrad_service.engine.executors.memory_lines import MemoryLines
from batchgrad_service.engine.executors.protocol import Happening, Interrupted, Traffic
from batchgrad_service.engine.executors.ray_calls import RayLine, RayLines
from batchgrad_service.engine.failures import NoWorkers
from batchgrad_workers.build import build
from batchgrad_workers.wire import Offer
from batchgrad_workers.worker import GradientWorker, Identity

ACTOR: Any = GradientWorker

AGAIN_SECONDS = 2.0
"""How long to wait after a worker could not be started."""


@dataclass
class Actor:
    """One worker. Its identity and line are there once it has answered its first ping, `asked`."""

    number: int
    actor: Any
    offer: Offer | None
    asked: Any
    asked_at: float = field(default_factory=monotonic)
    heard_at: float = field(default_factory=monotonic)
    identity: Identity | None = None
    line: Line | None = None


class Crew:
    """Keeps as many actors as are wanted; whoever is lost is replaced when the cluster can."""

    def __init__(
        self,
        setup: Any,
        *,
        wanted: int,
        threads: int,
        cpus: float,
        silence_seconds: float,
        start_seconds: float,
        interrupted: Callable[[], bool],
    ) -> None:
        """`setup` is an ObjectRef of the job's Setup; `cpus` what Ray reserves for each actor."""
        self.wanted = wanted
        self.alive: list[Actor] = []
        self.happenings: list[Happening] = []
        self._last_failure = ""
        self._coming: list[Actor] = []
        self._setup = setup
        self._threads = threads
        self._cpus = cpus
        self._silence = silence_seconds
        self._start_seconds = start_seconds
        self._interrupted = interrupted
        self._started = 0
        self._fill_again_at = 0.0
        self._node = ray.get_runtime_context().get_node_id()
        self._memory_lines = _memory_lines(self._node)
        self._ray_lines = RayLines()

    def everybody(self) -> None:
        """Wait until all have come, or until it took too long and at least one is there.

        Raises:
            NoWorkers: not one came within `start_seconds`.
            Interrupted: the engine has to go.
        """
        self._wait(lambda: bool(self.alive) and not self._coming)

    def somebody(self) -> None:
        """The same for one."""
        if not self.alive:
            self._wait(lambda: bool(self.alive))

    def fill(self) -> None:
        """Start as many actors as are missing; after a failure, not at once again."""
        if monotonic() < self._fill_again_at:
            return
        while len(self.alive) + len(self._coming) < self.wanted:
            offer = self._memory_lines.offer() if self._memory_lines else None
            actor = ACTOR.options(num_cpus=self._cpus).remote(self._setup, self._threads, offer)
            self._coming.append(Actor(self._started, actor, offer, actor.ping.remote()))
            self._started += 1

    def admit(self, timeout_seconds: float) -> None:
        """Take in actors that have answered; give up those that failed to start."""
        if not self._coming:
            return
        asked = [worker.asked for worker in self._coming]
        ready, _ = ray.wait(asked, num_returns=1, timeout=timeout_seconds)
        for worker in list(self._coming):
            if worker.asked in ready:
                self._coming.remove(worker)
                self._welcome(worker)
            elif self._stuck(worker):
                self._coming.remove(worker)
                self._give_up(worker, f"it did not start within {self._start_seconds:g} s")

    def silent(self, workers: Sequence[Actor]) -> list[Actor]:
        """Ping those that compute for long; those that leave a ping unanswered are silent."""
        found = []
        now = monotonic()
        for worker in workers:
            if worker.asked is None:
                if now - worker.heard_at > self._silence / 4:
                    worker.asked, worker.asked_at = worker.actor.ping.remote(), now
            elif ray.wait([worker.asked], timeout=0)[0]:
                worker.asked, worker.heard_at = None, now
            elif now - worker.asked_at > self._silence:
                found.append(worker)
        return found

    def lose(self, worker: Actor, reason: str, detail: str) -> None:
        """Strike a worker off and start another in its place; nothing if it is off already."""
        if worker not in self.alive:
            return
        self.alive.remove(worker)
        if worker.line:
            worker.line.close()
        self._kill(worker)
        data: dict[str, Any] = {"worker": worker.number, "reason": reason, "detail": detail}
        if worker.identity:
            data |= {"host": worker.identity.host, "pid": worker.identity.pid}
        self.happenings.append(Happening("worker_lost", data))
        self.fill()

    def places(self) -> tuple[list[str], int]:
        """Nodes that a worker is on, and how many workers are still coming."""
        busy = {worker.identity.node for worker in self.alive if worker.identity}
        return sorted(busy), len(self._coming)

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
            if worker.line:
                worker.line.close()
            with suppress(RayError):
                ray.kill(worker.actor, no_restart=True)
        if self._memory_lines:
            self._memory_lines.close()

    def _wait(self, enough: Callable[[], bool]) -> None:
        deadline = monotonic() + self._start_seconds
        self.fill()
        while not enough():
            if self._interrupted():
                raise Interrupted
            self.admit(timeout_seconds=POLL_SECONDS)
            self.fill()
            if monotonic() > deadline:
                if self.alive:
                    return
                why = self._last_failure or "the cluster had no room for them"
                raise NoWorkers(
                    f"None of {self.wanted} Ray workers started within {self._start_seconds:g} s "
                    f"({why}): look at the cluster (ray status), or ask for fewer workers."
                )

    def _welcome(self, worker: Actor) -> None:
        try:
            worker.identity = ray.get(worker.asked)
        except RayActorError as error:
            self._give_up(worker, str(error).strip().splitlines()[-1])
            return
        worker.asked = None
        identity = worker.identity
        worker.line = self._line(worker, identity)
        self.alive.append(worker)
        data = {"worker": worker.number, "host": identity.host, "pid": identity.pid}
        self.happenings.append(Happening("worker_joined", data))
        if identity.build != (own := build()):
            text = (
                f"Worker {worker.number} on {identity.host} has {identity.build}, the engine "
                f"{own}: results are right, but their last bits may depend on who computes what."
            )
            self.happenings.append(Happening("warning", {"detail": text}))

    def _line(self, worker: Actor, identity: Identity) -> Line:
        """Through memory to a worker that has come to our socket, to others through Ray."""
        line = None
        if self._memory_lines and worker.offer:
            line = self._memory_lines.line(worker.offer)
        if line is None and identity.unconnected:
            text = (
                f"Worker {worker.number} is on the engine's node but can't reach its socket "
                f"({identity.unconnected}): its arrays travel through Ray, which is slower."
            )
            self.happenings.append(Happening("warning", {"detail": text}))
        return line or RayLine(worker.actor, identity.node, self._ray_lines)

    def _stuck(self, worker: Actor) -> bool:
        """Whether an actor had CPUs for long and did not answer; without CPUs it just waits."""
        late = monotonic() - worker.asked_at > self._start_seconds
        return late and self._cpus == 0

    def _give_up(self, worker: Actor, detail: str) -> None:
        self._last_failure = detail
        data = {"worker": worker.number, "reason": "start_failed", "detail": detail}
        self.happenings.append(Happening("worker_lost", data))
        self._fill_again_at = monotonic() + AGAIN_SECONDS
        with suppress(RayError):
            ray.kill(worker.actor, no_restart=True)

    def _kill(self, worker: Actor) -> None:
        """End an actor for good. A stopped process does not hear Ray: on this node, by signal."""
        with suppress(RayError):
            ray.kill(worker.actor, no_restart=True)
        if worker.identity and worker.identity.node == self._node:
            with suppress(ProcessLookupError):
                os.kill(worker.identity.pid, signal.SIGKILL)


def _memory_lines(node: str) -> MemoryLines | None:
    """None where the system has no abstract sockets or no memfd."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        return MemoryLines(node)
    except OSError:
        return None
