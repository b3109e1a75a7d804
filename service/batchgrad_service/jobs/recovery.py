"""After a restart, wait for the engines of the earlier service and change their jobs' statuses."""

import json
import logging
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from batchgrad.contract import Job, JobStatus
from batchgrad_service.data_directory.directory import try_lock
from batchgrad_service.jobs.reports import Reports
from batchgrad_service.privacy.jobs import PrivateJobs
from batchgrad_service.store import Store
from batchgrad_workers.system.processes import kill_group

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
KILLED_SECONDS = 5.0
_PAGE = 200


class EngineStillRunningError(Exception):
    """An earlier engine still holds its lock after SIGKILL."""


def await_engine(lock: Path, grace_seconds: float, stopping: threading.Event | None = None) -> None:
    """Wait until no engine holds `lock`, as `await_engines` does.

    Raises:
        EngineStillRunningError: an engine holds the lock even after SIGKILL.
    """
    left = await_engines([lock], grace_seconds, stopping or threading.Event())
    if left:
        raise EngineStillRunningError(
            f"Process group {_holder(lock)} still holds {lock.name} after SIGKILL. "
            "It may be stuck in the kernel: check for a failed disk or network mount."
        )


def await_engines(
    locks: Collection[Path], grace_seconds: float, stopping: threading.Event
) -> list[Path]:
    """Wait until no engine holds any of `locks`; return those still held after SIGKILL.

    The locks share one grace time; after it, process groups that still hold a lock are killed.
    An engine writes {"pid", "pgid", "attempt"} into the file that it locks. Returns early when
    `stopping` is set.
    """
    for seconds, then_kill in ((grace_seconds, True), (KILLED_SECONDS, False)):
        deadline = time.monotonic() + seconds
        while locks := [lock for lock in locks if _is_held(lock)]:
            if time.monotonic() >= deadline:
                break
            if stopping.wait(POLL_SECONDS):
                return []
        for lock in locks if then_kill else ():
            log.warning("Killing an earlier engine, process group %d.", _holder(lock))
            kill_group(_holder(lock))
    return list(locks)


def _is_held(lock: Path) -> bool:
    if not lock.exists():
        return False
    with lock.open("r") as file:
        return not try_lock(file)


def _holder(lock: Path) -> int:
    return int(json.loads(lock.read_bytes())["pgid"])


def all_jobs(store: Store, statuses: set[JobStatus]) -> Iterator[Job]:
    """Yield every job that has one of the statuses, the newest first."""
    after: str | None = None
    while True:
        page = store.jobs(statuses=statuses, after=after, limit=_PAGE)
        yield from page.data
        after = page.next
        if after is None:
            return


def reconcile(
    store: Store,
    reports: Reports,
    private: PrivateJobs,
    data_dir: Path,
    grace_seconds: float,
    stopping: threading.Event,
    *,
    skip: Collection[str] = (),
) -> list[Job]:
    """Store the statuses of jobs whose engines ended with an earlier service; return the cancelled.

    When the engines have ended, their last messages are stored. Then `starting` and `running`
    become `recovering`, `pausing` becomes `paused`, and `cancelling` becomes `cancelled`. Jobs in
    `skip` have an engine of this service.
    """
    open_statuses: set[JobStatus] = {"starting", "running", "recovering", "pausing", "cancelling"}
    jobs = [job for job in all_jobs(store, open_statuses) if job.id not in skip]
    locks = [data_dir / "jobs" / job.id / "engine.lock" for job in jobs]
    for lock in await_engines(locks, grace_seconds, stopping):
        # The job's next attempt finds the lock held again, and fails with that reason.
        log.error("An engine still holds %s after SIGKILL.", lock)
    cancelled = []
    for job in jobs:
        if stopping.is_set():
            break
        reports.take_over(job.id, job.attempts)
        data = {"detail": "The service was restarted."}
        ended = store.transition(
            job.id,
            to="cancelled",
            allowed={"cancelling"},
            data=data,
            epsilon_spent=private.epsilon_spent(job.id),
        )
        if ended is not None:
            cancelled.append(ended)
        store.transition(job.id, to="paused", allowed={"pausing"}, data=data)
        store.transition(
            job.id,
            to="recovering",
            reason="service_restarted",
            data={"detail": "The service was restarted; the job continues from its checkpoint."},
        )
    return cancelled
