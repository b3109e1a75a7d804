"""What `Scheduler` asks of workers, of the lines to them, and of those who hire them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from batchgrad_engine.executors.protocol import Range, Transport
from batchgrad_workers.arrays import Array
from batchgrad_workers.runtime.ipc import Work
from batchgrad_workers.runtime.shard import RangeSums


class Lost(Exception):
    """The worker at the other end is gone; the text says how that was noticed."""


class StepRequest(NamedTuple):
    """What all workers are asked at the same time; `number` tells late answers from its own."""

    number: int
    work: Work
    step: int
    parameters: Array


class WorkerConnection(Protocol):
    """The way to one worker and back: an answer to every range that was asked for, in order."""

    transport: Transport

    def fileno(self) -> int:
        """A descriptor that is readable when `answers` has something to say."""

    def ask(self, call: StepRequest, work: Range) -> None:
        """Have a range computed. Raises Lost."""

    def answer(self, call: StepRequest | None) -> RangeSums[Any] | None:
        """The next one; None if it is not to this call. Raises Lost, or what went wrong."""

    def close(self) -> None:
        """Let go of it."""


class Worker(Protocol):
    """Somebody who computes."""

    number: int
    line: WorkerConnection
    heard_at: float


class WorkerPool(Protocol):
    """Those who are there, and how they change."""

    @property
    def alive(self) -> Sequence[Any]:
        """`Worker`s, none of them twice."""

    def somebody(self) -> None:
        """Wait until at least one is alive. Raises NoWorkers, ClusterLost, Interrupted."""

    def silent(self, workers: Sequence[Any]) -> list[Any]:
        """Those of them who compute and give no sign of life."""

    def lose(self, worker: Any, reason: str, detail: str) -> None:
        """Strike one off."""
