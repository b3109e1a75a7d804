"""Lines to workers on other machines: plain actor calls, arrays as Ray's objects."""

import socket
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError

from batchgrad_engine.executors.protocol import Range, Traffic, Transport
from batchgrad_engine.executors.scheduler.protocol import Lost, StepRequest
from batchgrad_workers.runtime import ipc
from batchgrad_workers.runtime.shard import RangeSums

LOST = (RayActorError, ObjectLostError, OutOfMemoryError, NodeDiedError)
"""What Ray says when the worker, not its work, was the trouble."""

BY_VALUE_BYTES = 100_000
"""Below this θ travels inside the call; above it, once per node through the object store."""


class RayConnections:
    """θ for all workers of other machines: put once a call."""

    def __init__(self) -> None:
        self.traffic: Traffic = Traffic()
        self._published = 0
        self._theta: Any = None
        self._nodes: set[str] = set()

    def publish(self, call: StepRequest, node: str) -> Any:
        """This call's θ, or a reference to it."""
        large = call.parameters.nbytes > BY_VALUE_BYTES
        if self._published != call.number:
            self._theta = ray.put(call.parameters) if large else call.parameters
            self._published, self._nodes = call.number, set()
        if not large or node not in self._nodes:
            self._nodes.add(node)
            self.traffic["out", "ray"] += call.parameters.nbytes
        return self._theta


class RayConnection:
    """One actor. Ray's answers come on a thread of its own, which rings: so one can wait for it."""

    transport: Transport = "ray"

    def __init__(self, actor: Any, node: str, lines: RayConnections) -> None:
        self._actor = actor
        self._node = node
        self._lines = lines
        self._answered: SimpleQueue[tuple[int, Future[RangeSums[Any]]]] = SimpleQueue()
        self._hear, self._ring = socket.socketpair()

    def fileno(self) -> int:
        return self._hear.fileno()

    def ask(self, call: StepRequest, work: Range) -> None:
        theta = self._lines.publish(call, self._node)
        try:
            reference = (
                self._actor.gradient_sums.remote(call.step, theta, *work)
                if call.work == "gradient"
                else self._actor.evaluation_sums.remote(theta, *work)
            )
        except LOST as error:
            raise Lost(_first_line(error)) from error
        reference.future().add_done_callback(lambda future: self._take(call.number, future))

    def answer(self, call: StepRequest | None) -> RangeSums[Any] | None:
        self._hear.recv(1)
        number, future = self._answered.get()
        mine = call is not None and number == call.number
        try:
            answer = future.result()
        except LOST as error:
            raise Lost(_first_line(error)) from error
        except Exception:
            if mine:
                raise
            return None
        self._lines.traffic["in", "ray"] += sum(array.nbytes for array in ipc.flat(answer))
        return answer if mine else None  # it has travelled all the same

    def close(self) -> None:
        self._ring.close()
        self._hear.close()

    def _take(self, number: int, future: Future[RangeSums[Any]]) -> None:
        self._answered.put((number, future))
        with suppress(OSError):  # the line was closed: nobody wants it any more
            self._ring.send(b"!")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
