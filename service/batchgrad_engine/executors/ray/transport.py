"""Connect workers on other nodes: actor calls, arrays as Ray objects."""

import socket
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock
from typing import Any, NamedTuple

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
)

from batchgrad_engine.executors.protocol import Range, Traffic, Transport
from batchgrad_engine.executors.ray.protocol import RayHandle
from batchgrad_engine.executors.ray.siblings import HeldSums, Relays
from batchgrad_engine.executors.scheduler.protocol import (
    AnySums,
    ConnectionLost,
    RequestLost,
    StepRequest,
)
from batchgrad_workers.reduction.rounding import unpacked
from batchgrad_workers.reduction.sharding import node_count
from batchgrad_workers.reduction.tree import Node
from batchgrad_workers.runtime import ipc

LOST_ERRORS = (RayActorError, ObjectLostError, OutOfMemoryError, NodeDiedError)
"""What Ray raises when a worker is gone, as opposed to an error in its code."""

BY_VALUE_BYTES = 100_000
"""Up to this size θ is an argument of the call; above, it goes once per node through the object
store."""


class RayConnections:
    """θ for all workers on other nodes: stored once per request."""

    def __init__(self) -> None:
        self.traffic: Traffic = Traffic()
        self.shares_next = False
        """Whether workers share the exchange of the next request."""
        self.published = 0
        """The number of the request that was published last."""
        self._theta: RayHandle = None
        self._relays: Relays | None = None
        self._nodes: set[str] = set()

    def publish(self, request: StepRequest, node: str, actor: RayHandle) -> object:
        """The θ of this request for the worker `actor` on `node`, or a reference to it."""
        large = request.parameters.nbytes > BY_VALUE_BYTES
        if self.published != request.number:
            self._theta = ray.put(request.parameters) if large else request.parameters
            self._relays = Relays(self._theta) if self.shares_next else None
            self.published, self._nodes = request.number, set()
        theta, direct = self._relays.reference(node, actor) if self._relays else (self._theta, True)
        if direct and not (large and node in self._nodes):
            self._nodes.add(node)
            self.traffic["out", "ray"] += request.parameters.nbytes
        return theta

    @property
    def shares(self) -> bool:
        """Whether workers share the exchange of the request that was published last."""
        return self._relays is not None

    def release(self) -> None:
        """Drop all references to θ, so that no node keeps copies of it."""
        self.published, self.shares_next = 0, False
        self._theta = self._relays = None


class Reply(NamedTuple):
    """A worker's reply to request `number`; `held` are the sums that stay with it."""

    number: int
    future: Future[AnySums]
    held: list[HeldSums]


class RayConnection:
    """The connection to one actor.

    Replies come on a thread of Ray, which writes a byte to a socket for each: `select` can wait.
    A call that waits for θ from another worker may be overtaken; its reply still comes first.
    """

    transport: Transport = "ray"

    def __init__(self, handle: RayHandle, node: str, connections: RayConnections) -> None:
        self._actor = handle
        self._node = node
        self._connections = connections
        self._requested = 0
        self._sent: deque[Reply] = deque()
        self._ready: deque[Reply] = deque()
        self._lock = Lock()
        self._receiver, self._notifier = socket.socketpair()

    @property
    def relied_on(self) -> bool:
        return self._connections.shares and self._requested == self._connections.published

    def fileno(self) -> int:
        return self._receiver.fileno()

    def send(self, request: StepRequest, microbatches: Range) -> None:
        theta = self._connections.publish(request, self._node, self._actor)
        self._requested = request.number
        held: list[HeldSums] = []
        try:
            if request.work == "evaluation":
                reply = self._actor.evaluation_sums.remote(theta, *microbatches)
            elif self._connections.shares:
                count = node_count(*microbatches, request.microbatches)
                method = self._actor.held_sums.options(num_returns=1 + count)
                reply, *sums = method.remote(request.step, theta, *microbatches, request.clip_norm)
                held = [HeldSums(self._actor, each) for each in sums]
            else:
                reply = self._actor.gradient_sums.remote(
                    request.step, theta, *microbatches, request.clip_norm
                )
        except LOST_ERRORS as error:
            raise ConnectionLost(loss_of(error)) from error
        future = reply.future()
        self._sent.append(Reply(request.number, future, held))
        future.add_done_callback(lambda _: self._notify())

    def receive(self, request: StepRequest | None) -> AnySums | None:
        self._receiver.recv(1)
        number, future, held = self._ready.popleft()
        is_current = request is not None and number == request.number
        try:
            result: AnySums = future.result()
        except LOST_ERRORS as error:
            in_argument = isinstance(error, RayTaskError)  # this worker itself is alive
            if in_argument and not is_current:
                return None
            if in_argument and self._connections.shares:
                raise RequestLost("died", loss_of(error)) from error
            raise ConnectionLost(loss_of(error)) from error
        except Exception:
            if is_current:
                raise
            return None
        self._connections.traffic["in", "ray"] += sum(
            array.nbytes for array in ipc.flat_arrays(result)
        )
        if request is None or not is_current:
            return None  # it was transferred all the same
        if request.work == "evaluation":
            return result
        sums: Sequence[Any] = held or [unpacked(node.sum) for node in result.nodes]
        places = zip(result.nodes, sums, strict=True)
        return result._replace(nodes=[Node(node.level, node.index, each) for node, each in places])

    def close(self) -> None:
        self._notifier.close()
        self._receiver.close()

    def _notify(self) -> None:
        """Announce the replies that have come, in the order of the calls."""
        with self._lock, suppress(OSError):  # the connection was closed: replies are dropped
            while self._sent and self._sent[0].future.done():
                self._ready.append(self._sent.popleft())
                self._notifier.send(b"!")


def loss_of(error: Exception) -> str:
    """How a worker was lost: the first line of Ray's many."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    return str(cause).strip().splitlines()[0]
