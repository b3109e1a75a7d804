"""One Ray actor from its start to its end."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from time import monotonic, sleep
from typing import Any

import ray
from ray._private.state import actors  # the public way needs the dashboard's agent
from ray.exceptions import (
    ActorUnschedulableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from batchgrad_engine.executors.protocol import ClusterLost
from batchgrad_engine.executors.ray.connection import check_head
from batchgrad_engine.executors.ray.pending_workers import NotStarted, StartTime
from batchgrad_engine.executors.ray.placement import WorkerSlot
from batchgrad_engine.executors.scheduler.protocol import WorkerConnection
from batchgrad_workers.runtime.actor import GradientWorker, Identity
from batchgrad_workers.runtime.ipc import ConnectInfo

ACTOR: Any = GradientWorker

UNABLE = (ActorUnschedulableError, NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError)
"""What Ray says of an actor that could not start."""


class Actors:
    """How one job's actors are started and waited for."""

    def __init__(self, setup: Any, silence_seconds: float, start_seconds: float) -> None:
        """`setup` is an ObjectRef of the job's Setup.

        With CPUs at hand an actor may take `start_seconds` to start; `silence_seconds` is how
        long it may leave a ping unanswered.
        """
        self.own_node: str = ray.get_runtime_context().get_node_id()
        self.setup = setup
        self.silence_seconds = silence_seconds
        self.start_seconds = start_seconds

    def start(self, number: int, seat: WorkerSlot, offer: ConnectInfo | None) -> "Actor":
        """Have a worker started in `seat`; returns at once."""
        return Actor(number, seat, offer, self)

    def wait(self, coming: Sequence["Actor"], seconds: float) -> None:
        """Until one of them has answered; so long at most."""
        if coming:
            ray.wait([worker.awaited for worker in coming], timeout=seconds)
        else:
            sleep(seconds)

    def check(self) -> None:
        """Raises ClusterLost when the head is gone."""
        check_head()


class Actor:
    """Who it is is known once it has answered its first ping; then it opens the dataset.

    `asked` is a ping that it has not answered yet.
    """

    def __init__(
        self, number: int, seat: WorkerSlot, offer: ConnectInfo | None, job: Actors
    ) -> None:
        self.number = number
        self.seat = seat
        self.offer = offer
        self.identity: Identity | None = None
        self.unconnected: str | None = None
        self.line: WorkerConnection | None = None
        self.actor = ACTOR.options(num_cpus=seat.cpus, scheduling_strategy=_where(seat)).remote()
        self.asked = self.actor.ping.remote()
        self.asked_at = self.heard_at = monotonic()
        has_process = partial(_has_process, self.actor) if seat.cpus else None
        self._start_time = StartTime(job.start_seconds, has_process)
        self._job = job
        self._preparing: Any = None

    @property
    def awaited(self) -> Any:
        """What it has to answer before it can be given work."""
        return self._preparing or self.asked

    @property
    def node(self) -> str:
        """Where it is, or will be; "" if that is not known yet."""
        return self.identity.node if self.identity else self.seat.node

    @property
    def waits_for_room(self) -> bool:
        """Whether others have the CPUs that it needs."""
        return not self.identity and self._start_time.waits_for_room

    def ready(self) -> Identity | None:
        """Its identity as soon as it can be given work; to be asked until then.

        Raises:
            NotStarted: that will never be.
        """
        try:
            if self.identity is None:
                self._introduce()
            elif ray.wait([self._preparing], timeout=0)[0]:
                self.unconnected = ray.get(self._preparing)
                return self.identity
            elif self.silent():
                raise NotStarted(f"no sign of life for {self._job.silence_seconds:g} s")
        except UNABLE as error:
            raise NotStarted(str(error).strip().splitlines()[-1]) from error
        return None

    def kill(self) -> None:
        """End it for good. A stopped process does not hear Ray: on this node, by signal."""
        if self.line:
            self.line.close()
        with suppress(RayError, ClusterLost):
            check_head()
            ray.kill(self.actor, no_restart=True)
        if self.identity and self.identity.node == self._job.own_node:
            with suppress(ProcessLookupError):
                os.kill(self.identity.pid, signal.SIGKILL)

    def silent(self) -> bool:
        """Whether it has left a ping unanswered for too long; if it was not heard lately, ping."""
        now = monotonic()
        if self.asked is None:
            if now - self.heard_at > self._job.silence_seconds / 4:
                self.asked, self.asked_at = self.actor.ping.remote(), now
        elif ray.wait([self.asked], timeout=0)[0]:
            self.asked, self.heard_at = None, now
        else:
            return now - self.asked_at > self._job.silence_seconds
        return False

    def _introduce(self) -> None:
        """Take in the answer to its first ping, and have it open the dataset."""
        if ray.wait([self.asked], timeout=0)[0]:
            self.identity = ray.get(self.asked)
            self.asked, self.heard_at = None, monotonic()
            self._preparing = self.actor.prepare.remote(
                self._job.setup, self.seat.threads, self.offer
            )
        else:
            self._start_time.check()


def _has_process(actor: Any) -> bool:
    check_head()
    return bool(actors(actor._actor_id.hex()).get("Pid"))  # noqa: SLF001  # its only name


def _where(seat: WorkerSlot) -> Any:
    if not seat.node:
        return "SPREAD"
    return NodeAffinitySchedulingStrategy(seat.node, soft=False)
