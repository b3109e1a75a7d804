"""What workers owe, how long such work takes, and who has owed it for too long."""

from collections import deque
from collections.abc import Sequence
from math import inf
from statistics import median_low
from typing import Any, NamedTuple

from batchgrad_engine.executors.protocol import Range, Transport
from batchgrad_workers.runtime.ipc import Work

LATE_FACTOR = 3.0
"""Who takes so many times as long as usual, while somebody is idle, is late. Usual is what those
take for a microbatch whose numbers travel the same way: through memory, or over a network."""

LATE_SECONDS = 0.1
"""Nobody is late before that: every machine has its hiccups."""

OVERDUE_FACTOR = 10.0
"""Who takes so many times as long as usual will never answer: its work hangs, though it may
answer pings."""

OVERDUE_SILENCES = 6.0
"""Nobody is given up before so many times the seconds in which it has to answer a ping."""

UNUSUAL_SECONDS = 3600.0
"""When one is given up for work of which nobody knows yet how long it takes."""


class InFlightTask(NamedTuple):
    """A range that a worker was asked for, at a time by `monotonic`.

    `patience` multiplies the time after which it is overdue.
    """

    work: Work
    microbatches: Range
    at: float
    patience: float


class InFlightTracker:
    """Of each worker what it was asked for and has not answered, in order, and its pace so far.

    A worker has a `number` and a `line` with a `transport`; all times are by `monotonic`.
    """

    def __init__(self, silence_seconds: float) -> None:
        """`silence_seconds`: after which an unanswered ping means that a worker is gone."""
        self._least_seconds = OVERDUE_SILENCES * silence_seconds
        self._owed: dict[int, deque[InFlightTask]] = {}
        self._paces: dict[tuple[Work, int], float] = {}

    def owes(self, worker: Any) -> bool:
        """Whether it has an answer to give."""
        return bool(self._owed.get(worker.number))

    def add(self, worker: Any, asked: InFlightTask) -> None:
        """One more thing that it was asked for."""
        self._owed.setdefault(worker.number, deque()).append(asked)

    def settle(self, worker: Any, now: float) -> InFlightTask:
        """It answers now, and begins with what it was asked for next; what the answer is to."""
        owed = self._owed[worker.number]
        asked = owed.popleft()
        if owed:
            owed[0] = owed[0]._replace(at=now)
        key = asked.work, worker.number
        pace = (now - asked.at) / _length(asked)
        self._paces[key] = (self._paces.get(key, pace) + pace) / 2
        return asked

    def keep(self, workers: Sequence[Any]) -> None:
        """Forget all but these."""
        numbers = {worker.number for worker in workers}
        self._owed = {each: owed for each, owed in self._owed.items() if each in numbers}
        self._paces = {key: pace for key, pace in self._paces.items() if key[1] in numbers}

    def usual(self, work: Work, workers: Sequence[Any]) -> dict[Transport, float]:
        """Seconds that these take for a microbatch, by how its numbers travel, where known."""
        paces: dict[Transport, list[float]] = {}
        for worker in workers:
            if (pace := self._paces.get((work, worker.number))) is not None:
                paces.setdefault(worker.line.transport, []).append(pace)
        return {transport: median_low(each) for transport, each in paces.items()}

    def late(
        self, work: Work, held: Sequence[tuple[Range, Any, float]], workers: Sequence[Any]
    ) -> list[Range]:
        """What idle workers may compute as well; `held` says by whom ranges are, how many seconds.

        `workers` tell what is usual.
        """
        old = [each for each in held if each[2] > LATE_SECONDS]
        usual = self.usual(work, workers) if old else {}
        return [
            (start, stop)
            for (start, stop), worker, seconds in old
            if seconds > LATE_FACTOR * usual.get(worker.line.transport, inf) * (stop - start)
        ]

    def overdue(self, workers: Sequence[Any], now: float) -> list[tuple[Any, float]]:
        """Who of these has owed something for too long, and for how many seconds."""
        late = [
            (worker, self._owed[worker.number][0])
            for worker in workers
            if self.owes(worker) and now - self._owed[worker.number][0].at > self._least_seconds
        ]
        usual = {work: self.usual(work, workers) for work in {asked.work for _, asked in late}}
        return [
            (worker, now - asked.at)
            for worker, asked in late
            if now - asked.at > self._most_seconds(asked, usual[asked.work], worker)
        ]

    def _most_seconds(
        self, asked: InFlightTask, usual: dict[Transport, float], worker: Any
    ) -> float:
        """After which a range is overdue."""
        seconds = OVERDUE_FACTOR * usual.get(worker.line.transport, inf) * _length(asked)
        known = UNUSUAL_SECONDS if seconds == inf else max(seconds, self._least_seconds)
        return asked.patience * known


def _length(asked: InFlightTask) -> int:
    start, stop = asked.microbatches
    return stop - start
