"""One worker as a Ray actor: launch it, wait until it is ready, ping it, kill it."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from time import monotonic, sleep

import ray
from ray._private.state import actors  # the public function needs the dashboard's agent
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
from batchgrad_engine.executors.ray.pending_workers import StartTimer
from batchgrad_engine.executors.ray.placement import WorkerSlot
from batchgrad_engine.executors.ray.protocol import RayHandle, StartFailed
from batchgrad_engine.executors.scheduler.protocol import WorkerConnection
from batchgrad_workers.runtime.actor import GradientWorker, Identity
from batchgrad_workers.runtime.ipc import ConnectInfo

ACTOR: RayHandle = GradientWorker

START_ERRORS = (
    ActorUnschedulableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
)
"""What Ray raises for an actor that could not start."""


class Actor:
    """A worker whose identity is known after its first ping; then it opens the dataset."""

    def __init__(
        self,
        number: int,
        slot: WorkerSlot,
        connect_info: ConnectInfo | None,
        launcher: "ActorLauncher",
    ) -> None:
        self.number = number
        self.slot = slot
        self.connect_info = connect_info
        self.identity: Identity | None = None
        self.connect_error: str | None = None
        self._connection: WorkerConnection | None = None
        strategy = _scheduling_strategy(slot)
        self.handle = ACTOR.options(
            num_cpus=slot.cpus, num_gpus=launcher.num_gpus, scheduling_strategy=strategy
        ).remote()
        self._ping: RayHandle = self.handle.ping.remote()  # None when answered
        self._pinged_at = self.last_contact_at = monotonic()
        has_process = partial(_has_process, self.handle) if slot.cpus else None
        self._start_timer = StartTimer(launcher.start_timeout_seconds, has_process)
        self._launcher = launcher
        self._preparation: RayHandle = None

    @property
    def pending_call(self) -> RayHandle:
        """The call that has to end before the worker can compute."""
        return self._preparation or self._ping

    @property
    def node(self) -> str:
        """The Ray id of its node; "" if that is not known yet."""
        return self.identity.node if self.identity else self.slot.node

    @property
    def waits_for_cpus(self) -> bool:
        """Whether other processes have reserved the CPUs that it needs."""
        return not self.identity and self._start_timer.waits_for_cpus

    @property
    def connection(self) -> WorkerConnection:
        if self._connection is None:
            raise RuntimeError(f"worker {self.number} has no connection: it is still starting.")
        return self._connection

    def connect(self, connection: WorkerConnection) -> None:
        self._connection = connection

    def poll_ready(self) -> Identity | None:
        """Its identity once it can compute, else None; call it until then.

        Raises:
            StartFailed: the worker will never be ready.
        """
        try:
            if self.identity is None:
                self._poll_identity()
            elif ray.wait([self._preparation], timeout=0)[0]:
                self.connect_error = ray.get(self._preparation)
                return self.identity
            elif self._is_silent_for(self._launcher.preparation_timeout_seconds):
                seconds = self._launcher.preparation_timeout_seconds
                raise StartFailed(f"it answered no ping for {seconds:g} s")
        except START_ERRORS as error:
            raise StartFailed(str(error).strip().splitlines()[-1]) from error
        return None

    def kill(self) -> None:
        """End it. A stopped process ignores Ray: on the engine's node, kill it by signal too."""
        if self._connection:
            self._connection.close()
        with suppress(RayError, ClusterLost):
            check_head()
            ray.kill(self.handle, no_restart=True)
        if self.identity and self.identity.node == self._launcher.own_node:
            with suppress(ProcessLookupError):
                os.kill(self.identity.pid, signal.SIGKILL)

    def is_unresponsive(self) -> bool:
        """Whether a ping is unanswered for too long; sends the next ping when one is due."""
        return self._is_silent_for(self._launcher.heartbeat_timeout_seconds)

    def _is_silent_for(self, timeout_seconds: float) -> bool:
        now = monotonic()
        if self._ping is None:
            if now - self.last_contact_at > timeout_seconds / 4:
                self._ping, self._pinged_at = self.handle.ping.remote(), now
        elif ray.wait([self._ping], timeout=0)[0]:
            self._ping, self.last_contact_at = None, now
        else:
            return now - self._pinged_at > timeout_seconds
        return False

    def _poll_identity(self) -> None:
        """Once the first ping is answered, have the worker open the dataset."""
        if ray.wait([self._ping], timeout=0)[0]:
            self.identity = ray.get(self._ping)
            self._ping, self.last_contact_at = None, monotonic()
            self._preparation = self.handle.prepare.remote(
                self._launcher.worker_config, self.slot.threads, self.connect_info
            )
        else:
            self._start_timer.check()


class ActorLauncher:
    """Launches a job's actors and waits for them."""

    def __init__(
        self,
        worker_config: RayHandle,
        heartbeat_timeout_seconds: float,
        start_timeout_seconds: float,
        num_gpus: float = 0.0,
        *,
        imports_torch: bool = False,
    ) -> None:
        """`worker_config` is a reference to the job's `WorkerConfig`; `num_gpus` is a worker's.

        An actor has `start_timeout_seconds` to start once it has CPUs, and
        `heartbeat_timeout_seconds` to answer a ping; while it imports PyTorch, which answers none,
        also the time to start.
        """
        self.own_node: str = ray.get_runtime_context().get_node_id()
        self.worker_config = worker_config
        self.heartbeat_timeout_seconds = heartbeat_timeout_seconds
        self.start_timeout_seconds = start_timeout_seconds
        self.num_gpus = num_gpus
        self.preparation_timeout_seconds = (
            max(heartbeat_timeout_seconds, start_timeout_seconds)
            if imports_torch
            else heartbeat_timeout_seconds
        )

    def start(self, number: int, slot: WorkerSlot, connect_info: ConnectInfo | None) -> Actor:
        """Launch a worker in `slot`; returns at once."""
        return Actor(number, slot, connect_info, self)

    def wait(self, starting: Sequence[Actor], seconds: float) -> None:
        """Wait up to `seconds` until one of the workers has made progress."""
        if starting:
            ray.wait([worker.pending_call for worker in starting], timeout=seconds)
        else:
            sleep(seconds)

    def check(self) -> None:
        """Raises ClusterLost if the head is gone."""
        check_head()


def _has_process(handle: RayHandle) -> bool:
    check_head()
    return bool(actors(handle._actor_id.hex()).get("Pid"))  # noqa: SLF001  # its only name


def _scheduling_strategy(slot: WorkerSlot) -> object:
    if not slot.node:
        return "SPREAD"
    return NodeAffinitySchedulingStrategy(slot.node, soft=False)
