"""Track ranges in flight and each worker's pace; find stragglers and workers that hang."""

from collections import deque
from collections.abc import Sequence
from math import inf
from statistics import median_low
from typing import NamedTuple

from batchgrad_engine.executors.protocol import Range, Transport
from batchgrad_engine.executors.scheduler.protocol import W, Worker
from batchgrad_workers.runtime.ipc import Work

STRAGGLER_FACTOR = 3.0
"""A range is a straggler after this multiple of the typical time. Typical is the median over the
workers with the same transport: shared memory and a network differ too much."""

STRAGGLER_MIN_SECONDS = 0.1
"""No range is a straggler before: short delays are normal on every machine."""

OVERDUE_FACTOR = 10.0
"""After this multiple of the typical time the worker counts as hung, even if it answers pings."""

OVERDUE_HEARTBEAT_TIMEOUTS = 6.0
"""No worker counts as hung before this multiple of the heartbeat timeout."""

UNKNOWN_PACE_SECONDS = 3600.0
"""A worker counts as hung after this time if no typical time is known yet."""


class InFlightTask(NamedTuple):
    """A range that was sent to a worker and has no reply yet; `sent_at` is by `monotonic`.

    `timeout_factor` multiplies the time after which it is overdue.
    """

    work: Work
    microbatches: Range
    sent_at: float
    timeout_factor: float


class InFlightTracker:
    """Each worker's ranges in flight, oldest first, and its pace. Times are by `monotonic`."""

    def __init__(self, heartbeat_timeout_seconds: float) -> None:
        """`heartbeat_timeout_seconds`: a worker with a ping unanswered for longer is lost."""
        self._min_overdue_seconds = OVERDUE_HEARTBEAT_TIMEOUTS * heartbeat_timeout_seconds
        self._queues: dict[int, deque[InFlightTask]] = {}
        self._paces: dict[tuple[Work, int], float] = {}

    def is_busy(self, worker: Worker) -> bool:
        """Whether the worker has a range in flight."""
        return bool(self._queues.get(worker.number))

    def add(self, worker: Worker, task: InFlightTask) -> None:
        """Note that `task` was sent to the worker."""
        self._queues.setdefault(worker.number, deque()).append(task)

    def complete(self, worker: Worker, now: float) -> InFlightTask:
        """Remove and return the oldest task of a worker that replied; update its pace.

        The worker begins its next task now.
        """
        queue = self._queues[worker.number]
        task = queue.popleft()
        if queue:
            queue[0] = queue[0]._replace(sent_at=now)
        key = task.work, worker.number
        pace = (now - task.sent_at) / _microbatch_count(task)
        self._paces[key] = (self._paces.get(key, pace) + pace) / 2
        return task

    def keep_only(self, workers: Sequence[Worker]) -> None:
        """Forget all workers but these."""
        numbers = {worker.number for worker in workers}
        self._queues = {each: queue for each, queue in self._queues.items() if each in numbers}
        self._paces = {key: pace for key, pace in self._paces.items() if key[1] in numbers}

    def typical_pace(self, work: Work, workers: Sequence[Worker]) -> dict[Transport, float]:
        """Median seconds per microbatch of these workers, by transport; only where known."""
        paces: dict[Transport, list[float]] = {}
        for worker in workers:
            if (pace := self._paces.get((work, worker.number))) is not None:
                paces.setdefault(worker.connection.transport, []).append(pace)
        return {transport: median_low(each) for transport, each in paces.items()}

    def stragglers(
        self,
        work: Work,
        running: Sequence[tuple[Range, Worker, float]],
        workers: Sequence[Worker],
    ) -> list[Range]:
        """Those of the `running` ranges that an idle worker should compute as well.

        `running` has each range, its worker and the seconds since it was sent; `workers` define
        the typical pace.
        """
        slow = [each for each in running if each[2] > STRAGGLER_MIN_SECONDS]
        pace = self.typical_pace(work, workers) if slow else {}
        return [
            (start, stop)
            for (start, stop), worker, seconds in slow
            if seconds
            > STRAGGLER_FACTOR * pace.get(worker.connection.transport, inf) * (stop - start)
        ]

    def overdue(self, workers: Sequence[W], now: float) -> list[tuple[W, float]]:
        """Workers that count as hung, each with the seconds that its oldest task has taken."""
        slow = [
            (worker, self._queues[worker.number][0])
            for worker in workers
            if self.is_busy(worker)
            and now - self._queues[worker.number][0].sent_at > self._min_overdue_seconds
        ]
        pace = {work: self.typical_pace(work, workers) for work in {task.work for _, task in slow}}
        return [
            (worker, now - task.sent_at)
            for worker, task in slow
            if now - task.sent_at > self._overdue_seconds(task, pace[task.work], worker)
        ]

    def _overdue_seconds(
        self, task: InFlightTask, pace: dict[Transport, float], worker: Worker
    ) -> float:
        """The time after which `task` is overdue."""
        seconds = OVERDUE_FACTOR * pace.get(worker.connection.transport, inf)
        seconds *= _microbatch_count(task)
        known = UNKNOWN_PACE_SECONDS if seconds == inf else max(seconds, self._min_overdue_seconds)
        return task.timeout_factor * known


def _microbatch_count(task: InFlightTask) -> int:
    start, stop = task.microbatches
    return stop - start
