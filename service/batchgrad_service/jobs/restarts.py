"""Limits on restarts: how often without progress, and the waits between them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from batchgrad_workers.system.backoff import Backoff

FIRST_WAIT_SECONDS = 1.0
RESTART_WAIT_SECONDS = 15.0
"""Before the second restart of an engine that died, and twice as long before each further one."""

LONGEST_WAIT_SECONDS = 120.0


@dataclass(frozen=True)
class Restart:
    """The number of restarts since the last progress, this one included; whether it is allowed."""

    count: int
    allowed: bool


class RestartBudget:
    """Counts a job's restarts without progress; progress is a newer checkpoint. Thread-safe.

    Kept in memory: when the service restarts, every job has its whole budget again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, tuple[int, int]] = {}  # id: (restarts, newest checkpoint's step)

    def spend(self, job_id: str, newest_step: int, at_most: int) -> Restart:
        """Count a restart of a job whose newest checkpoint is of `newest_step` (-1: none)."""
        with self._lock:
            count, step_before = self._jobs.get(job_id, (0, newest_step))
            if newest_step > step_before:
                count = 0
            count += 1
            self._jobs[job_id] = (count, newest_step)
        return Restart(count, count <= at_most)

    def reset(self, job_id: str) -> None:
        """Give the job its whole budget again."""
        with self._lock:
            self._jobs.pop(job_id, None)


class ReconnectBackoff:
    """The times at which jobs that could not continue are tried again. Thread-safe.

    Each wait of a job is twice as long as the one before, unless it made progress between them.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[str, tuple[Backoff, int]] = {}  # id: (backoff, newest checkpoint's step)

    def begin_wait(
        self,
        job_id: str,
        newest_step: int,
        longest_seconds: float = LONGEST_WAIT_SECONDS,
        *,
        least_seconds: float = FIRST_WAIT_SECONDS,
    ) -> float:
        """Return the seconds until the next try; the newest checkpoint is of `newest_step`."""
        with self._lock:
            backoff, step_before = self._jobs.get(job_id, (None, newest_step))
            if backoff is None or newest_step > step_before or backoff.next < least_seconds:
                backoff = Backoff(least_seconds, longest_seconds)
            self._jobs[job_id] = (backoff, newest_step)
            return backoff.fail(self._clock())

    def may_try(self, job_id: str) -> bool:
        """Whether the job need not wait now."""
        with self._lock:
            return job_id not in self._jobs or self._clock() >= self._jobs[job_id][0].until

    def reset(self, job_id: str) -> None:
        """End the job's wait; its next wait is as short as the first."""
        with self._lock:
            self._jobs.pop(job_id, None)
