"""One Ray actor from its start to its end."""

import os
import signal
from contextlib import suppress
from time import monotonic
from typing import Any

import ray
from ray.exceptions import (
    ActorUnschedulableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from batchgrad_service.engine.executors.placement import Seat
from batchgrad_service.engine.executors.team import Line
from batchgrad_workers.wire import Offer
from batchgrad_workers.worker import GradientWorker, Identity

ACTOR: Any = GradientWorker

UNABLE = (ActorUnschedulableError, NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError)
"""What Ray says of an actor that could not start."""


class NotStarted(Exception):
    """It never will be ready; the text says why."""


class Actor:
    """Who it is is known once it has answered its first ping; then it opens the dataset.

    `asked` is a ping that it has not answered yet.
    """

    def __init__(self, number: int, seat: Seat, setup: Any, offer: Offer | None) -> None:
        """Have it started in `seat`; `setup` is an ObjectRef of the job's Setup."""
        self.number = number
        self.seat = seat
        self.offer = offer
        self.identity: Identity | None = None
        self.unconnected: str | None = None
        self.line: Line | None = None
        self.actor = ACTOR.options(num_cpus=seat.cpus, scheduling_strategy=_where(seat)).remote()
        self.asked = self.actor.ping.remote()
        self.asked_at = self.heard_at = monotonic()
        self._setup = setup
        self._preparing: Any = None

    @property
    def awaited(self) -> Any:
        """What it has to answer before it can be given work."""
        return self._preparing or self.asked

    @property
    def node(self) -> str:
        """Where it is, or will be; "" if that is not known yet."""
        return self.identity.node if self.identity else self.seat.node

    def ready(self, silence_seconds: float, start_seconds: float) -> Identity | None:
        """Its identity as soon as it can be given work; to be asked until then.

        Raises:
            NotStarted: that will never be.
        """
        try:
            if self.identity is None:
                self._introduce(start_seconds)
            elif ray.wait([self._preparing], timeout=0)[0]:
                self.unconnected = ray.get(self._preparing)
                return self.identity
            elif silent(self, silence_seconds):
                raise NotStarted(f"no sign of life for {silence_seconds:g} s")
        except UNABLE as error:
            raise NotStarted(str(error).strip().splitlines()[-1]) from error
        return None

    def kill(self, own_node: str) -> None:
        """End it for good. A stopped process does not hear Ray: on this node, by signal."""
        if self.line:
            self.line.close()
        with suppress(RayError):
            ray.kill(self.actor, no_restart=True)
        if self.identity and self.identity.node == own_node:
            with suppress(ProcessLookupError):
                os.kill(self.identity.pid, signal.SIGKILL)

    def _introduce(self, start_seconds: float) -> None:
        """Take in the answer to its first ping, and have it open the dataset."""
        if ray.wait([self.asked], timeout=0)[0]:
            self.identity = ray.get(self.asked)
            self.asked, self.heard_at = None, monotonic()
            self._preparing = self.actor.prepare.remote(self._setup, self.seat.threads, self.offer)
        # With CPUs to reserve it may have to wait for them; without, nothing keeps it.
        elif not self.seat.cpus and monotonic() - self.asked_at > start_seconds:
            raise NotStarted(f"it did not start within {start_seconds:g} s")


def silent(worker: Actor, seconds: float) -> bool:
    """Whether a ping was left unanswered for so long; one is sent to whom was not heard lately."""
    now = monotonic()
    if worker.asked is None:
        if now - worker.heard_at > seconds / 4:
            worker.asked, worker.asked_at = worker.actor.ping.remote(), now
    elif ray.wait([worker.asked], timeout=0)[0]:
        worker.asked, worker.heard_at = None, now
    else:
        return now - worker.asked_at > seconds
    return False


def _where(seat: Seat) -> Any:
    if not seat.node:
        return "SPREAD"
    return NodeAffinitySchedulingStrategy(seat.node, soft=False)
