"""Workers that were started and are not ready yet; where that fails, the next try waits longer."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from batchgrad_engine.executors.ray.placement import WorkerSlot
from batchgrad_workers.system.backoff import Backoff

AGAIN_SECONDS = 2.0
"""How long a seat stays empty after its worker could not be started; each time twice as long."""

AT_MOST_SECONDS = 300.0


class NotStarted(Exception):
    """A worker never will be ready; the text says why."""


class TooLate(NotStarted):
    """It had its time, and nobody says what is wrong."""


class StartTime:
    """How long a worker may take to start: its time begins when it has the CPUs that it needs."""

    def __init__(
        self,
        seconds: float,
        has_process: Callable[[], bool] | None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`has_process` tells whether it has got its CPUs; None if it needs none."""
        self.waits_for_room = False
        self._seconds = seconds
        self._has_process = has_process
        self._clock = clock
        self._began = self._looked_at = clock()

    def check(self) -> None:
        """Raises TooLate when it has had its time. Looks for its process now and then."""
        now = self._clock()
        if self._has_process and now - self._looked_at > self._seconds / 6:
            self._looked_at = now
            self.waits_for_room = not self._has_process()
        if self.waits_for_room:
            self._began = now
        elif now - self._began > self._seconds:
            raise TooLate(f"it did not start within {self._seconds:g} s")


@dataclass
class Trouble:
    """What went wrong on one node since a worker was ready there."""

    backoff: Backoff = field(default_factory=lambda: Backoff(AGAIN_SECONDS, AT_MOST_SECONDS))
    texts: set[str] = field(default_factory=set)


class PendingWorkers:
    """Who is coming to which seat. A node with trouble holds up no other one."""

    def __init__(
        self,
        start: Callable[[int, WorkerSlot], Any],
        wait: Callable[[Sequence[Any], float], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`start` begins to start a worker, by number; `wait` waits until one of some has news."""
        self.coming: list[Any] = []
        self.failure = ""  # the last one that has a reason
        self._start = start
        self._wait = wait
        self._clock = clock
        self._started = 0
        self._troubles: dict[str, Trouble] = {}
        self._empty: list[tuple[float, WorkerSlot]] = []  # until when

    def fill(self, missing: Counter[WorkerSlot]) -> None:
        """Start a worker for each of these seats, but for those where that has just failed."""
        now = self._clock()
        self._empty = [(until, seat) for until, seat in self._empty if until > now]
        for seat in (missing - Counter(seat for _, seat in self._empty)).elements():
            self.coming.append(self._start(self._started, seat))
            self._started += 1

    def admit(self, seconds: float) -> tuple[list[Any], list[tuple[Any, str]]]:
        """Who is ready to work, and who never will be and why; waits for news so long at most.

        Of what goes wrong on a node again and again, only the first is told.
        """
        if self.coming or seconds:
            self._wait(self.coming, seconds)
        ready, failed = [], []
        for worker in list(self.coming):
            try:
                if worker.ready() is None:
                    continue
                ready.append(worker)
                self._troubles.pop(worker.seat.node, None)
            except NotStarted as error:
                if not isinstance(error, TooLate):
                    self.failure = str(error)
                worker.kill()
                if self._is_new(worker.seat, str(error)):
                    failed.append((worker, str(error)))
            self.coming.remove(worker)
        return ready, failed

    def dismiss(self, worker: Any) -> None:
        """Nobody waits for this one any more."""
        self.coming.remove(worker)
        worker.kill()

    def _is_new(self, seat: WorkerSlot, text: str) -> bool:
        """Leave the seat empty for a while; whether this trouble was not told yet."""
        trouble, now = self._troubles.setdefault(seat.node, Trouble()), self._clock()
        if now >= trouble.backoff.until:  # those who fail at the same time are one trouble
            trouble.backoff.fail(now)
        self._empty.append((trouble.backoff.until, seat))
        told = text in trouble.texts
        trouble.texts.add(text)
        return not told
