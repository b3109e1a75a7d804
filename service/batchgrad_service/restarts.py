"""How often a job's engine may die before the job is given up."""

import threading
from dataclasses import dataclass


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
