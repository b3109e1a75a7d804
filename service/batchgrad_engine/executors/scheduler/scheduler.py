"""Schedule microbatch ranges over workers; re-run stragglers and retry the ranges of lost workers.

The scheduler sends and receives through `WorkerConnection`; a transport is only a label.
"""

import selectors
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Generic, Literal, overload

from batchgrad_engine.executors.protocol import (
    EventSink,
    ExecutorEvent,
    Interrupted,
    Range,
)
from batchgrad_engine.executors.scheduler.protocol import (
    AnySums,
    ConnectionLost,
    RequestLost,
    StepRequest,
    W,
    WorkerPool,
)
from batchgrad_engine.executors.scheduler.stragglers import (
    STRAGGLER_MIN_SECONDS,
    InFlightTask,
    InFlightTracker,
)
from batchgrad_engine.executors.scheduler.tasks import Tasks
from batchgrad_engine.failures import WorkersLost
from batchgrad_workers.arrays import Array
from batchgrad_workers.reduction.sharding import split
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.ipc import Work
from batchgrad_workers.runtime.shard import RangeSums
from batchgrad_workers.trainable import EvaluationSums

POLL_SECONDS = 0.25
"""How often a wait checks for an interrupt and for unresponsive workers."""

REPORT_SECONDS = 10.0
"""The least time between two events about stragglers."""

MAX_LOSSES = 5
"""The step fails when this many workers in a row were lost with the same microbatches."""


class Scheduler(Generic[W]):
    """Sends ranges to workers and collects their sums.

    A lost worker's range is split among the remaining workers. A straggler's range is sent to an
    idle worker as well (speculative execution), and the first reply counts: the bits are the same.
    A straggler gets no other work until it has replied.
    """

    def __init__(
        self,
        pool: WorkerPool[W],
        interrupted: Callable[[], bool],
        heartbeat_timeout_seconds: float,
        emit: EventSink,
    ) -> None:
        self._pool = pool
        self._interrupted = interrupted
        self._heartbeat_timeout_seconds = heartbeat_timeout_seconds
        self._emit = emit
        self._requests = 0
        self._request: StepRequest | None = None
        self._in_flight = InFlightTracker(heartbeat_timeout_seconds)
        self._checked_at = monotonic()
        self._tasks: Tasks[W] = Tasks()
        self._results: list[AnySums] = []
        self._on_result: Callable[[AnySums], None] | None = None
        self._speculated = 0
        self._reported_at = -REPORT_SECONDS

    def idle_workers(self) -> list[W]:
        """Workers with nothing in flight, after receiving the replies that have arrived.

        Workers on this machine come first: they get the ranges with most sums.
        """
        self._receive_ready(0)
        idle = [worker for worker in self._pool.alive if not self._in_flight.is_busy(worker)]
        return sorted(idle, key=lambda worker: worker.connection.transport != "shared_memory")

    @overload
    def compute(
        self,
        work: Literal["gradient"],
        step: int,
        parameters: Array,
        ranges: Sequence[Range],
        clip_norm: float | None = None,
        on_result: Callable[[RangeSums[GradientSums]], None] | None = None,
    ) -> list[RangeSums[GradientSums]]: ...

    @overload
    def compute(
        self, work: Literal["evaluation"], step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]: ...

    def compute(
        self,
        work: Work,
        step: int,
        parameters: Array,
        ranges: Sequence[Range],
        clip_norm: float | None = None,
        on_result: Callable[[AnySums], None] | None = None,
    ) -> list[AnySums]:
        """Compute all `ranges` at θ = `parameters` (P,); the sums come in any order.

        `on_result` gets each range's first result as soon as it arrives.

        Raises:
            RequestLost: a worker is lost that others rely on; compute all of it again.
            Interrupted, NoWorkers, ClusterLost: as `WorkerPool.wait_for_worker`.
            WorkersLost: `MAX_LOSSES` workers in a row were lost with the same microbatches.
            MemoryError, RuntimeError: raised by a worker.
        """
        self._in_flight.keep_only(self._pool.alive)
        self._requests += 1
        microbatches = max(stop for _, stop in ranges)
        request = self._request = StepRequest(
            self._requests, work, step, parameters, microbatches, clip_norm
        )
        self._tasks = Tasks(ranges)
        self._results, self._on_result = [], on_result
        try:
            while self._tasks:
                self._assign(request)
                self._receive_ready(STRAGGLER_MIN_SECONDS / 2)
                self._speculate(request)
            return self._results
        finally:
            self._request, self._tasks = None, Tasks()
            self._results, self._on_result = [], None

    def _assign(self, request: StepRequest) -> None:
        """Send unassigned ranges to idle workers."""
        while self._tasks.unassigned():
            self._pool.wait_for_worker()
            workers = self.idle_workers()  # this may notice further losses
            unassigned = self._tasks.unassigned()
            if not workers:
                if len(unassigned) < len(self._tasks):
                    return
                workers = list(self._pool.alive)  # all of them are stragglers
            for microbatches, worker in zip(unassigned, workers, strict=False):
                self._send(request, microbatches, worker)

    def _send(self, request: StepRequest, microbatches: Range, worker: W) -> None:
        """Send a range to a worker, unless the range is done or the worker is gone by now."""
        if microbatches not in self._tasks or worker not in self._pool.alive:
            return
        now = monotonic()
        losses = self._tasks.assign(microbatches, worker, now)
        try:
            worker.connection.send(request, microbatches)
        except ConnectionLost as loss:
            self._remove(worker, "died", str(loss))
        else:
            sent = InFlightTask(request.work, microbatches, now, 2.0**losses)
            self._in_flight.add(worker, sent)
            worker.last_contact_at = now

    def _receive_ready(self, seconds: float) -> None:
        """Wait up to `seconds` for a reply, receive all that are ready, and remove lost workers.

        Raises:
            Interrupted: the engine has to stop, and a worker is busy.
        """
        busy = self._busy_workers()
        if not busy:
            return
        for worker in _readable(busy, seconds):
            self._receive(worker)
        if monotonic() - self._checked_at > POLL_SECONDS:
            self._checked_at = monotonic()
            if self._interrupted():
                raise Interrupted
            for worker in self._pool.unresponsive(list(self._pool.alive)):
                detail = f"it answered no ping for {self._heartbeat_timeout_seconds:g} s"
                self._remove(worker, "silent", detail)
            for worker, elapsed in self._in_flight.overdue(self._busy_workers(), monotonic()):
                detail = f"it answers pings, but its range has been in flight for {elapsed:.0f} s"
                self._remove(worker, "stuck", detail)

    def _busy_workers(self) -> list[W]:
        return [worker for worker in self._pool.alive if self._in_flight.is_busy(worker)]

    def _receive(self, worker: W) -> None:
        """Receive one reply; drop it if another worker's reply came first."""
        sent = self._in_flight.complete(worker, monotonic())
        try:
            result = worker.connection.receive(self._request)
        except ConnectionLost as loss:
            self._remove(worker, "died", str(loss))
            return
        except RequestLost:
            raise
        except Exception as error:
            if self._tasks.runs_only_on(worker, sent.microbatches):
                raise
            detail = f"it failed at a range that another worker computes: {type(error).__name__}"
            self._remove(worker, "died", detail)
            return
        worker.last_contact_at = monotonic()
        if result and self._tasks.complete((result.start, result.stop)):
            self._results.append(result)
            if self._on_result:
                self._on_result(result)

    def _speculate(self, request: StepRequest) -> None:
        """Send the ranges of stragglers to idle workers as well."""
        now = monotonic()
        running = self._tasks.running_once(now)
        stragglers = self._in_flight.stragglers(request.work, running, self._pool.alive)
        idle = self.idle_workers() if stragglers else []
        for microbatches, worker in zip(stragglers, idle, strict=False):
            self._speculated += microbatches[1] - microbatches[0]
            self._send(request, microbatches, worker)
        if self._speculated and now - self._reported_at > REPORT_SECONDS:
            text = (
                "A worker was slow: an idle worker computed the same range, and the first reply "
                f"counted. This event is sent at most once in {REPORT_SECONDS:g} s."
            )
            data = {"reason": "slow", "microbatches": self._speculated, "detail": text}
            self._emit(ExecutorEvent("retry", data))
            self._speculated, self._reported_at = 0, now

    def _remove(self, worker: W, reason: str, detail: str) -> None:
        """Remove a lost worker; split the ranges that only it computed among those that remain.

        One that is stuck stays if others rely on it: it may only wait for another worker.

        Raises:
            RequestLost: others rely on it.
            WorkersLost: `MAX_LOSSES` workers in a row were lost with the same microbatches.
        """
        relied_on = self._request is not None and worker.connection.relied_on
        if not relied_on or reason != "stuck":
            self._pool.remove(worker, reason, detail)
        if relied_on:
            raise RequestLost(reason, f"worker {worker.number}: {detail}")
        for microbatches, losses in self._tasks.lose(worker):
            if self._request and losses >= MAX_LOSSES:
                step = self._request.step
                raise WorkersLost(step, microbatches, losses, f"{reason}: {detail}")
            start, stop = microbatches
            pieces = split(start, stop, max(1, len(self._pool.alive)))
            self._tasks.split(microbatches, pieces)
            data = {"reason": reason, "microbatches": stop - start, "pieces": len(pieces)}
            self._emit(ExecutorEvent("retry", data))


def _readable(workers: Sequence[W], seconds: float) -> list[W]:
    """The workers whose connections have a reply within `seconds`."""
    with selectors.PollSelector() as selector:
        for worker in workers:
            selector.register(worker.connection, selectors.EVENT_READ, worker)
        return [key.data for key, _ in selector.select(seconds)]
