"""How often a job's engine may die before the job is given up, and who is tried again when."""

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
class Spent:
    """Restarts since the last progress, this one included, and whether it is still allowed."""

    restarts: int
    allowed: bool


class RestartBudget:
    """Counts restarts without progress between; progress is a newer checkpoint. Thread-safe.

    Kept in memory: a restart of the service gives every job its budget back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, tuple[int, int]] = {}  # id: (restarts, newest checkpoint's step)

    def spend(self, job_id: str, newest_step: int, at_most: int) -> Spent:
        """One restart more for a job whose newest checkpoint is of `newest_step` (-1: none)."""
        with self._lock:
            restarts, step_before = self._jobs.get(job_id, (0, newest_step))
            if newest_step > step_before:
                restarts = 0
            restarts += 1
            self._jobs[job_id] = (restarts, newest_step)
        return Spent(restarts, restarts <= at_most)

    def forget(self, job_id: str) -> None:
        """The job ended."""
        with self._lock:
            self._jobs.pop(job_id, None)


class ReconnectBackoff:
    """When jobs that could not go on are tried again. Thread-safe.

    A job waits twice as long each time, unless it got on meanwhile.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[str, tuple[Backoff, int]] = {}  # the step of its newest checkpoint

    def begin(
        self,
        job_id: str,
        newest_step: int,
        longest_seconds: float = LONGEST_WAIT_SECONDS,
        *,
        least_seconds: float = FIRST_WAIT_SECONDS,
    ) -> float:
        """Seconds until the next try of a job whose newest checkpoint is of `newest_step`."""
        with self._lock:
            backoff, step_before = self._jobs.get(job_id, (None, newest_step))
            if backoff is None or newest_step > step_before or backoff.next < least_seconds:
                backoff = Backoff(least_seconds, longest_seconds)
            self._jobs[job_id] = (backoff, newest_step)
            return backoff.fail(self._clock())

    def is_over(self, job_id: str) -> bool:
        """Whether the job may be tried now."""
        with self._lock:
            return job_id not in self._jobs or self._clock() >= self._jobs[job_id][0].until

    def forget(self, job_id: str) -> None:
        """The job ended, or somebody wants it now."""
        with self._lock:
            self._jobs.pop(job_id, None)
