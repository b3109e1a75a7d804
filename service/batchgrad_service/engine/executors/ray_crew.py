"""The Ray actors of one job: who is there, who is coming, who has fallen silent."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from batchgrad_service.engine.executors.protocol import Happening
from batchgrad_workers.build import build
from batchgrad_workers.worker import GradientWorker, Identity

ACTOR: Any = GradientWorker

AGAIN_SECONDS = 2.0
"""How long to wait after a worker could not be started."""


@dataclass
class Worker:
    """One actor. `identity` is known once it has answered its first ping, `asked`."""

    number: int
    actor: Any
    asked: Any
    asked_at: float = field(default_factory=monotonic)
    heard_at: float = field(default_factory=monotonic)
    identity: Identity | None = None


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
    ) -> None:
        """`setup` is an ObjectRef of the job's Setup; `cpus` what Ray reserves for each actor."""
        self.wanted = wanted
        self.alive: list[Worker] = []
        self.happenings: list[Happening] = []
        self.last_failure = ""
        self._coming: list[Worker] = []
        self._setup = setup
        self._threads = threads
        self._cpus = cpus
        self._silence = silence_seconds
        self._start_seconds = start_seconds
        self._started = 0
        self._fill_again_at = 0.0

    @property
    def complete(self) -> bool:
        """Whether nobody is still coming."""
        return not self._coming

    def nodes(self) -> set[str]:
        """Where the workers are."""
        return {worker.identity.node for worker in self.alive if worker.identity}

    def fill(self) -> None:
        """Start as many actors as are missing; after a failure, not at once again."""
        if monotonic() < self._fill_again_at:
            return
        while len(self.alive) + len(self._coming) < self.wanted:
            actor = ACTOR.options(num_cpus=self._cpus).remote(self._setup, self._threads)
            self._coming.append(Worker(self._started, actor, actor.ping.remote()))
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

    def silent(self, workers: list[Worker]) -> list[Worker]:
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

    def lose(self, worker: Worker, reason: str, detail: str) -> None:
        """Strike a worker off and start another in its place; nothing if it is off already."""
        if worker not in self.alive:
            return
        self.alive.remove(worker)
        self._kill(worker)
        data: dict[str, Any] = {"worker": worker.number, "reason": reason, "detail": detail}
        if worker.identity:
            data |= {"host": worker.identity.host, "pid": worker.identity.pid}
        self.happenings.append(Happening("worker_lost", data))
        self.fill()

    def dismiss(self) -> None:
        """End all actors."""
        for worker in [*self.alive, *self._coming]:
            with suppress(RayError):
                ray.kill(worker.actor, no_restart=True)

    def _welcome(self, worker: Worker) -> None:
        try:
            worker.identity = ray.get(worker.asked)
        except RayActorError as error:
            self._give_up(worker, str(error).strip().splitlines()[-1])
            return
        worker.asked = None
        self.alive.append(worker)
        identity = worker.identity
        data = {"worker": worker.number, "host": identity.host, "pid": identity.pid}
        self.happenings.append(Happening("worker_joined", data))
        if identity.build != (own := build()):
            text = (
                f"Worker {worker.number} on {identity.host} has {identity.build}, the engine "
                f"{own}: results are right, but their last bits may depend on who computes what."
            )
            self.happenings.append(Happening("warning", {"detail": text}))

    def _stuck(self, worker: Worker) -> bool:
        """Whether an actor had CPUs for long and did not answer; without CPUs it just waits."""
        late = monotonic() - worker.asked_at > self._start_seconds
        return late and self._cpus == 0

    def _give_up(self, worker: Worker, detail: str) -> None:
        self.last_failure = detail
        data = {"worker": worker.number, "reason": "start_failed", "detail": detail}
        self.happenings.append(Happening("worker_lost", data))
        self._fill_again_at = monotonic() + AGAIN_SECONDS
        with suppress(RayError):
            ray.kill(worker.actor, no_restart=True)

    def _kill(self, worker: Worker) -> None:
        """End an actor for good. A stopped process does not hear Ray: on this node, by signal."""
        with suppress(RayError):
            ray.kill(worker.actor, no_restart=True)
        here = ray.get_runtime_context().get_node_id()
        if worker.identity and worker.identity.node == here:
            with suppress(ProcessLookupError):
                os.kill(worker.identity.pid, signal.SIGKILL)
