"""Protocols of the scheduler: a pool of workers, and a connection to each of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from batchgrad_engine.executors.protocol import Range, Transport
from batchgrad_workers.arrays import Array
from batchgrad_workers.runtime.ipc import Work
from batchgrad_workers.runtime.shard import RangeSums

AnySums = RangeSums[Any]
"""Sums of a gradient or of an evaluation: `StepRequest.work` says which."""


class ConnectionLost(Exception):
    """The worker at the other end is gone; the text says how that was noticed."""


class RequestLost(Exception):
    """A worker is lost that others rely on: the whole request has to be computed again.

    `reason` is one of `RETRY_REASONS`; the text says how it was noticed.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class StepRequest(NamedTuple):
    """One request, sent to every worker. `number` identifies it, so that stale replies are dropped.

    `parameters` is θ (P,), `microbatches` M, and `clip_norm` C of a private job.
    """

    number: int
    work: Work
    step: int
    parameters: Array
    microbatches: int
    clip_norm: float | None = None


class WorkerConnection(Protocol):
    """The connection to one worker. Replies arrive in the order in which ranges were sent."""

    transport: Transport

    @property
    def relied_on(self) -> bool:
        """Whether other workers may need what this one has of the current request."""

    def fileno(self) -> int:
        """A file descriptor that is readable when `receive` has a reply."""

    def send(self, request: StepRequest, microbatches: Range) -> None:
        """Send one range to compute. Raises ConnectionLost."""

    def receive(self, request: StepRequest | None) -> AnySums | None:
        """The next reply; None if it does not belong to `request`.

        Raises:
            ConnectionLost: the worker is gone.
            RequestLost: another worker is gone that this one relied on.
            Exception: what the worker raised.
        """

    def close(self) -> None:
        """Close the connection."""


class Worker(Protocol):
    """One worker. `last_contact_at` is the time of the last request or reply, by `monotonic`."""

    number: int
    last_contact_at: float

    @property
    def connection(self) -> WorkerConnection:
        """How to reach it."""


W = TypeVar("W", bound=Worker)


class WorkerPool(Protocol[W]):
    """The workers at hand; it replaces those that are removed."""

    @property
    def alive(self) -> Sequence[W]:
        """All workers that can compute, each of them once."""

    def wait_for_worker(self) -> None:
        """Wait until at least one is alive. Raises NoWorkers, ClusterLost, Interrupted."""

    def unresponsive(self, workers: Sequence[W]) -> Sequence[W]:
        """Those of `workers` that left a ping unanswered for too long."""

    def remove(self, worker: W, reason: str, detail: str) -> None:
        """Stop a worker that is lost and start a replacement."""
