"""Connect workers on other nodes: actor calls, arrays as Ray objects."""

import socket
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError

from batchgrad_engine.executors.protocol import Range, Traffic, Transport
from batchgrad_engine.executors.ray.protocol import RayHandle
from batchgrad_engine.executors.scheduler.protocol import AnySums, ConnectionLost, StepRequest
from batchgrad_workers.runtime import ipc

LOST_ERRORS = (RayActorError, ObjectLostError, OutOfMemoryError, NodeDiedError)
"""What Ray raises when the worker is gone, as opposed to an error in its code."""

BY_VALUE_BYTES = 100_000
"""Up to this size θ is an argument of the call; above, it goes once per node through the object
store."""


class RayConnections:
    """θ for all workers on other nodes: stored once per request."""

    def __init__(self) -> None:
        self.traffic: Traffic = Traffic()
        self._published = 0
        self._theta: RayHandle = None
        self._nodes: set[str] = set()

    def publish(self, request: StepRequest, node: str) -> object:
        """The θ of this request, or a reference to it."""
        large = request.parameters.nbytes > BY_VALUE_BYTES
        if self._published != request.number:
            self._theta = ray.put(request.parameters) if large else request.parameters
            self._published, self._nodes = request.number, set()
        if not large or node not in self._nodes:
            self._nodes.add(node)
            self.traffic["out", "ray"] += request.parameters.nbytes
        return self._theta


class RayConnection:
    """The connection to one actor.

    Replies come on a thread of Ray, which writes a byte to a socket for each: `select` can wait.
    """

    transport: Transport = "ray"

    def __init__(self, handle: RayHandle, node: str, connections: RayConnections) -> None:
        self._actor = handle
        self._node = node
        self._connections = connections
        self._replies: SimpleQueue[tuple[int, Future[AnySums]]] = SimpleQueue()
        self._receiver, self._notifier = socket.socketpair()

    def fileno(self) -> int:
        return self._receiver.fileno()

    def send(self, request: StepRequest, microbatches: Range) -> None:
        theta = self._connections.publish(request, self._node)
        try:
            reference = (
                self._actor.gradient_sums.remote(
                    request.step, theta, *microbatches, request.clip_norm
                )
                if request.work == "gradient"
                else self._actor.evaluation_sums.remote(theta, *microbatches)
            )
        except LOST_ERRORS as error:
            raise ConnectionLost(_first_line(error)) from error
        reference.future().add_done_callback(lambda future: self._on_reply(request.number, future))

    def receive(self, request: StepRequest | None) -> AnySums | None:
        self._receiver.recv(1)
        number, future = self._replies.get()
        is_current = request is not None and number == request.number
        try:
            result: AnySums = future.result()
        except LOST_ERRORS as error:
            raise ConnectionLost(_first_line(error)) from error
        except Exception:
            if is_current:
                raise
            return None
        self._connections.traffic["in", "ray"] += sum(
            array.nbytes for array in ipc.flat_arrays(result)
        )
        return result if is_current else None  # a stale reply was transferred too

    def close(self) -> None:
        self._notifier.close()
        self._receiver.close()

    def _on_reply(self, number: int, future: Future[AnySums]) -> None:
        self._replies.put((number, future))
        with suppress(OSError):  # the connection was closed: the reply is dropped
            self._notifier.send(b"!")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
