"""Wait for a database that is busy or full, on behalf of those whose work must not be lost."""

import logging
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, TypeVar

from batchgrad.contract import Job
from batchgrad_service.store.records import JobInputs, StoredCheckpoint
from batchgrad_service.store.store import Store
from batchgrad_service.store.unavailable import StoreUnavailable

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.5
T = TypeVar("T")


class Patience:
    """Calls again until the database takes it, or until `end`. Thread-safe.

    An engine whose report waits here blocks on its pipe: it stands still, and loses nothing.
    """

    def __init__(self) -> None:
        self._until: float | None = None

    def end(self, seconds: float) -> None:
        """No call waits longer than `seconds` from now."""
        self._until = monotonic() + seconds

    def __call__(self, call: Callable[[], T]) -> T:
        """What `call` gives, which may be called several times.

        Raises:
            StoreUnavailable: `end` was called, and the time is over.
        """
        told = ""
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                if self._until is not None and monotonic() >= self._until:
                    raise
                if error.detail != told:
                    log.warning("Waiting for the database: %s", error.detail)
                    told = error.detail
            sleep(AGAIN_SECONDS)


class PatientStore:
    """What settles a job, patiently; each method is `Store`'s of the same name."""

    def __init__(self, store: Store, patience: Patience) -> None:
        self._store = store
        self._patience = patience

    def transition(self, job_id: str, **change: Any) -> Job | None:
        """Change a job's status."""
        return self._patience(lambda: self._store.transition(job_id, **change))

    def job(self, job_id: str) -> Job:
        """One job."""
        return self._patience(lambda: self._store.job(job_id))

    def job_inputs(self, job_id: str) -> JobInputs:
        """What an engine needs."""
        return self._patience(lambda: self._store.job_inputs(job_id))

    def checkpoints(self, job_id: str) -> list[StoredCheckpoint]:
        """The checkpoints that are kept, the newest first."""
        return self._patience(lambda: self._store.checkpoints(job_id))
