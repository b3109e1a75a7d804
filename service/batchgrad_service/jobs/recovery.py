"""After a restart: end the engines of an earlier service, settle the jobs that it left."""

import json
import logging
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from batchgrad.contract import Job, JobStatus
from batchgrad_service.data_directory import try_lock
from batchgrad_service.jobs.reports import Reports
from batchgrad_service.store import Store
from batchgrad_workers.system.processes import kill_group

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
KILLED_SECONDS = 5.0
_PAGE = 200


class EngineStillThereError(Exception):
    """An earlier engine holds its lock even after SIGKILL."""


def await_engine(lock: Path, grace_seconds: float, stopping: threading.Event | None = None) -> None:
    """`await_engines` for one. Raises EngineStillThereError if even SIGKILL does not end it."""
    left = await_engines([lock], grace_seconds, stopping or threading.Event())
    if left:
        raise EngineStillThereError(
            f"Process group {_holder(lock)} holds {lock.name} even after SIGKILL; "
            "it is stuck in the kernel (a dead disk or network mount?)."
        )


def await_engines(
    locks: Collection[Path], grace_seconds: float, stopping: threading.Event
) -> list[Path]:
    """Wait until no engine holds any of `locks`; those that are held even after SIGKILL.

    After the grace time, which is one for all, the process groups that still hold some are killed.
    An engine writes {"pid", "pgid", "attempt"} into the file that it has locked. Returns early
    when `stopping`.
    """
    for seconds, then_kill in ((grace_seconds, True), (KILLED_SECONDS, False)):
        deadline = time.monotonic() + seconds
        while locks := [lock for lock in locks if _is_held(lock)]:
            if time.monotonic() >= deadline:
                break
            if stopping.wait(POLL_SECONDS):
                return []
        for lock in locks if then_kill else ():
            log.warning("An earlier engine (process group %d) is killed.", _holder(lock))
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
    """Every job in one of the statuses, the newest first."""
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
    data_dir: Path,
    grace_seconds: float,
    stopping: threading.Event,
    *,
    but: Collection[str] = (),
) -> list[Job]:
    """Settle what an earlier service left unsettled; the jobs that it cancelled.

    What its engines said last is stored once they are gone. Then what was under way becomes
    `recovering`, `pausing` becomes paused, `cancelling` cancelled. `but` are jobs whose engines are
    this service's.
    """
    unsettled: set[JobStatus] = {"starting", "running", "recovering", "pausing", "cancelling"}
    jobs = [job for job in all_jobs(store, unsettled) if job.id not in but]
    locks = [data_dir / "jobs" / job.id / "engine.lock" for job in jobs]
    for lock in await_engines(locks, grace_seconds, stopping):
        # The job's next attempt meets the lock again, and says so.
        log.error("An engine holds %s even after SIGKILL.", lock)
    cancelled = []
    for job in jobs:
        if stopping.is_set():
            break
        reports.take_over(job.id, job.attempts)
        data = {"detail": "The service was restarted."}
        ended = store.transition(job.id, to="cancelled", allowed={"cancelling"}, data=data)
        if ended is not None:
            cancelled.append(ended)
        store.transition(job.id, to="paused", allowed={"pausing"}, data=data)
        store.transition(
            job.id,
            to="recovering",
            allowed={"starting", "running"},
            reason="service_restarted",
            data={"detail": "The service was restarted; the job goes on from its checkpoint."},
        )
    return cancelled
