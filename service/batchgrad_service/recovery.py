"""After a restart: end the engines of an earlier service, settle the jobs that it left."""

import json
import logging
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from batchgrad.contract import Job, JobStatus
from batchgrad_service.data_directory import try_lock
from batchgrad_service.processes import kill_group
from batchgrad_service.reports import Reports
from batchgrad_service.store import Store

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
KILLED_SECONDS = 5.0
_PAGE = 200


class EngineStillThereError(Exception):
    """An earlier engine holds its lock even after SIGKILL."""


def await_engine(lock: Path, grace_seconds: float, stopping: threading.Event | None = None) -> None:
    """Wait until no engine holds `lock`; after the grace time kill the process group that does.

    The engine writes {"pid", "pgid", "attempt"} into the file that it has locked. Raises
    EngineStillThereError if even SIGKILL does not end it. Returns early when `stopping`.
    """
    if not lock.exists():
        return
    stopping = stopping or threading.Event()
    deadline, killed = time.monotonic() + grace_seconds, False
    with lock.open("r") as file:
        while not try_lock(file):
            if time.monotonic() >= deadline:
                group = int(json.loads(lock.read_bytes())["pgid"])
                if killed:
                    raise EngineStillThereError(
                        f"Process group {group} holds {lock.name} even after SIGKILL; "
                        "it is stuck in the kernel (a dead disk or network mount?)."
                    )
                log.warning("An earlier engine (process group %d) is killed.", group)
                kill_group(group)
                deadline, killed = time.monotonic() + KILLED_SECONDS, True
            if stopping.wait(POLL_SECONDS):
                return


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

    What its engines said last is stored first. What was under way becomes `recovering`, `pausing`
    becomes paused, `cancelling` cancelled, each after its old engine is gone. `but` are jobs whose
    engines are this service's.
    """
    unsettled: set[JobStatus] = {"starting", "running", "recovering", "pausing", "cancelling"}
    cancelled = []
    for job in [job for job in all_jobs(store, unsettled) if job.id not in but]:
        try:
            await_engine(data_dir / "jobs" / job.id / "engine.lock", grace_seconds, stopping)
        except EngineStillThereError:
            log.exception("Job %s", job.id)  # its next attempt meets the lock again, and says so
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
