"""Protocols of a worker group: its workers, and the launcher that starts them."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from batchgrad_engine.executors.ray.placement import WorkerSlot
from batchgrad_engine.executors.scheduler.protocol import Worker, WorkerConnection
from batchgrad_workers.runtime.actor import Identity
from batchgrad_workers.runtime.ipc import ConnectInfo

RayHandle = Any
"""An actor handle or an object reference. `Any`, because Ray adds an actor's methods at run time
(`handle.ping.remote()`), and its modules are not typed."""


class StartFailed(Exception):
    """A worker will never be ready; the text says why."""


class StartTimedOut(StartFailed):
    """A worker did not start in time, for no known reason."""


class GroupWorker(Worker, Protocol):
    """A worker from its launch to its end."""

    slot: WorkerSlot
    handle: RayHandle
    connect_info: ConnectInfo | None
    """What it needs to connect to the engine's socket; None if the engine has none."""
    connect_error: str | None
    """Why a worker on the engine's node could not connect to the engine's socket."""
    identity: Identity | None
    """None until the worker's process has answered."""

    @property
    def node(self) -> str:
        """The Ray id of its node; "" if that is not known yet."""

    @property
    def waits_for_cpus(self) -> bool:
        """Whether other processes have reserved the CPUs that it needs."""

    def poll_ready(self) -> Identity | None:
        """Its identity once it can compute, else None. Raises StartFailed."""

    def connect(self, connection: WorkerConnection) -> None:
        """Use `connection` from now on."""

    def is_unresponsive(self) -> bool:
        """Whether a ping is unanswered for too long; sends the next ping when one is due."""

    def kill(self) -> None:
        """End the worker and its connection."""


G = TypeVar("G", bound=GroupWorker)


class WorkerLauncher(Protocol[G]):
    """Starts workers, as `ActorLauncher` does."""

    own_node: str
    """The Ray id of the engine's node."""

    def start(self, number: int, slot: WorkerSlot, connect_info: ConnectInfo | None) -> G:
        """Launch a worker in `slot`; returns at once."""

    def wait(self, starting: Sequence[G], seconds: float) -> None:
        """Wait up to `seconds` until one of the workers has made progress."""

    def check(self) -> None:
        """Raises ClusterLost if the cluster is gone; starting workers do not notice that."""
