"""Retries while the database is busy or full, for callers whose work must not be lost."""

import logging
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, TypeVar

from batchgrad.contract import Job
from batchgrad_service.store.privacy import PrivateJob
from batchgrad_service.store.records import JobInputs, StoredCheckpoint
from batchgrad_service.store.store import Store
from batchgrad_service.store.unavailable import StoreUnavailable

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
T = TypeVar("T")


class StoreRetry:
    """Repeats a call until the database accepts it, or until `give_up_after`. Thread-safe.

    An engine whose report waits here blocks on its pipe: it pauses, and loses nothing.
    """

    def __init__(self) -> None:
        self._deadline: float | None = None

    def give_up_after(self, seconds: float) -> None:
        """Let no call wait longer than `seconds` from now."""
        self._deadline = monotonic() + seconds

    def __call__(self, call: Callable[[], T]) -> T:
        """Return the result of `call`, which may be called several times.

        Raises:
            StoreUnavailable: the time of `give_up_after` is over.
        """
        logged = ""
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                if self._deadline is not None and monotonic() >= self._deadline:
                    raise
                if error.detail != logged:
                    log.warning("Waiting for the database: %s", error.detail)
                    logged = error.detail
            sleep(RETRY_SECONDS)


class RetryingStore:
    """The methods of `Store` that end an attempt, each repeated until the database accepts it."""

    def __init__(self, store: Store, retry: StoreRetry) -> None:
        self._store = store
        self._retry = retry

    def transition(self, job_id: str, **change: Any) -> Job | None:
        """Change a job's status."""
        return self._retry(lambda: self._store.transition(job_id, **change))

    def private_job(self, job_id: str) -> PrivateJob | None:
        """Return the accounting of a private job."""
        return self._retry(lambda: self._store.private_job(job_id))

    def has_privacy_budget(self, job_id: str) -> bool:
        """Return whether a dataset that the job spends ε on has a budget."""
        return self._retry(lambda: self._store.has_privacy_budget(job_id))

    def job(self, job_id: str) -> Job:
        """Return one job."""
        return self._retry(lambda: self._store.job(job_id))

    def job_inputs(self, job_id: str) -> JobInputs:
        """Return the inputs of a job's next attempt."""
        return self._retry(lambda: self._store.job_inputs(job_id))

    def checkpoints(self, job_id: str) -> list[StoredCheckpoint]:
        """Return the kept checkpoints, the newest first."""
        return self._retry(lambda: self._store.checkpoints(job_id))
