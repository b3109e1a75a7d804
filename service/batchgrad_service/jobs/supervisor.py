"""Which job runs when: starts attempts, passes on what users ask, and leaves no engine behind."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, NoReturn

from batchgrad.contract import TERMINAL, Job
from batchgrad_service.datasets.sources import Sources
from batchgrad_service.disk_room import DiskRoom
from batchgrad_service.jobs.attempt import Attempt, AttemptContext, Cluster
from batchgrad_service.jobs.engine_process import ENGINE_COMMAND, EngineProcess
from batchgrad_service.jobs.lifecycle import UNDER_WAY, JobLifecycle
from batchgrad_service.jobs.recovery import all_jobs, reconcile
from batchgrad_service.jobs.reports import Reports
from batchgrad_service.jobs.restarts import ReconnectBackoff, RestartBudget
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.problems import ConflictError
from batchgrad_service.ray_head.cluster import RayCluster
from batchgrad_service.settings import Settings
from batchgrad_service.store import Patience, PatientStore, Store, StoreUnavailable, utc_now
from batchgrad_workers.system.exhaustion import what_lacks

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 5.0
DISK_SECONDS = 1.0
KILLED_SECONDS = 10.0
LEAVE_SECONDS = 5.0
"""How long an engine may take to leave after its last word when its job is to be deleted."""


class Supervisor:
    """Runs at most `settings.max_running_jobs` jobs, first come first served.

    `start` and `stop` once each; `cancel`, `pause`, `resume`, `ledger`, `notify` and `ready`
    from any thread. The database decides: every change of a job is conditional, so what two
    threads want at the same time has one outcome.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        metrics: Metrics,
        *,
        engine_command: Sequence[str] = ENGINE_COMMAND,
        cluster: Cluster | None = None,
        sources: Sources | None = None,
        disk: DiskRoom | None = None,
        waits: ReconnectBackoff | None = None,
        start_engine: Callable[..., EngineProcess] = EngineProcess,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._disk = disk or DiskRoom(settings.folders, settings.min_free_disk_bytes)
        self._cluster = cluster or RayCluster(
            settings.data_dir,
            settings.ray_address,
            object_store_memory_bytes=settings.object_store_memory_bytes,
        )
        self._waits = waits or ReconnectBackoff()
        self._patience = Patience()
        patient = PatientStore(store, self._patience)
        self._settling = JobLifecycle(patient, metrics, RestartBudget(), self._waits)
        self._around = AttemptContext(
            store=store,
            metrics=metrics,
            reports=Reports(store, metrics, settings.data_dir),
            settling=self._settling,
            cluster=self._cluster,
            settings=settings,
            sources=sources or Sources(settings),
            engine_command=engine_command,
            start_engine=start_engine,
            patience=self._patience,
        )
        self._lock = threading.RLock()  # what is in _attempts and the statuses that follow from it
        self._attempts: dict[str, Attempt] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._reconciled = threading.Event()
        self._booted = False
        self._shortage = ""  # what the disk lacks
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin to run jobs; those of an earlier service first end or go on."""
        self._thread.start()

    def stop(self, grace: float | None = None) -> None:
        """Let every engine write its checkpoint, for `grace` seconds at most; leave nothing."""
        grace = self._settings.engine_stop_timeout_seconds if grace is None else grace
        self._stopping.set()
        self._wake.set()
        self._patience.end(grace / 3)  # what no database takes must not hold anybody up
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            attempts = list(self._attempts.values())
        for attempt in attempts:
            attempt.interrupt()
        deadline = time.monotonic() + grace
        for attempt in attempts:
            if not attempt.join(max(0.0, deadline - time.monotonic())):
                attempt.kill()
        self._cluster.stop()  # also ends the wait of attempts that have no engine yet
        for attempt in attempts:
            if not attempt.join(KILLED_SECONDS):
                log.error("Job %s: its engine does not end.", attempt.job_id)

    def ready(self) -> bool:
        """Whether jobs are being run."""
        alive = self._thread.is_alive() and not self._stopping.is_set()
        return alive and self._reconciled.is_set()

    def notify(self) -> None:
        """Something may have changed in what waits: look soon."""
        self._wake.set()

    def cancel(self, job_id: str) -> Job:
        """End a job at its next step boundary, at once if it has no engine. Idempotent.

        Raises NotFoundError, and ConflictError when it has ended.
        """
        while True:
            with self._lock:
                job = self._store.job(job_id)
                if job.status in TERMINAL:
                    _refuse(job, "cancelled")
                if job.status == "cancelling":
                    return job
                changed = self._store.transition(
                    job_id, to="cancelled", allowed={"queued", "paused", "recovering"}
                )
                if changed is not None:
                    self._settling.cancelled(changed)
                    return changed
                changed = self._ask(job_id, "cancel")
            if changed is not None:
                return changed

    def pause(self, job_id: str) -> Job:
        """Stop a job at its next step boundary, to go on later. Idempotent.

        Raises NotFoundError, and ConflictError when it has ended or is being cancelled.
        """
        while True:
            with self._lock:
                job = self._store.job(job_id)
                if job.status in TERMINAL or job.status == "cancelling":
                    _refuse(job, "paused")
                if job.status in {"pausing", "paused"}:
                    return job
                changed = self._store.transition(
                    job_id, to="paused", allowed={"queued", "recovering"}
                ) or self._ask(job_id, "pause")
            if changed is not None:
                return changed

    def resume(self, job_id: str) -> Job:
        """Queue a paused job again; nothing happens to one that goes on anyway.

        Raises NotFoundError, and ConflictError when it has ended, is being cancelled or is not yet
        paused.
        """
        job = self._store.transition(job_id, to="queued", allowed={"paused"})
        if job is None:
            job = self._store.job(job_id)
            if job.status in TERMINAL or job.status in {"cancelling", "pausing"}:
                _refuse(job, "resumed")
            return job
        self._settling.forget(job_id)  # who asks for more gives it its restarts back
        self.notify()
        return job

    def let_go(self, job_id: str, seconds: float = LEAVE_SECONDS) -> None:
        """Wait until a job that has ended has no engine, which may still write to its files."""
        with self._lock:
            attempt = self._attempts.get(job_id)
        if attempt is not None and not attempt.join(seconds):
            attempt.kill()
            attempt.join(KILLED_SECONDS)

    def ledger(self, job_id: str, seconds: float) -> Path | None:
        """A running job's example ledger, fresh; None if it does not run or takes longer."""
        with self._lock:
            attempt = self._attempts.get(job_id)
        return None if attempt is None else attempt.ledger(seconds)

    def _ask(self, job_id: str, command: Literal["pause", "cancel"]) -> Job | None:
        """Mark an active job, and tell its engine; without one, `reconcile` sees the mark."""
        changed = (
            self._store.transition(job_id, to="pausing", allowed=UNDER_WAY)
            if command == "pause"
            else self._store.transition(job_id, to="cancelling", allowed={*UNDER_WAY, "pausing"})
        )
        attempt = self._attempts.get(job_id)
        if changed is not None and attempt is not None:
            attempt.ask(command)
        return changed

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._bravely(self._look)
            self._bravely(self._rest)
            self._wake.clear()

    def _bravely(self, do: Callable[[], None]) -> None:
        """Do it; whatever goes wrong, the next look may go better: a dead supervisor helps nobody.

        A disk that can't be asked for its room is among that, say a network file system's.
        """
        try:
            do()
        except StoreUnavailable as error:
            log.warning("The supervisor waits for the database: %s", error.detail)
        except Exception:
            log.exception("The supervisor failed; it looks again.")
            self._stopping.wait(LOOK_AGAIN_SECONDS)

    def _look(self) -> None:
        if not self._reconciled.is_set():
            self._reconcile()
        self._start_waiting()

    def _rest(self) -> None:
        """Wait until there may be something to do, with an eye on the disk."""
        until = time.monotonic() + LOOK_AGAIN_SECONDS
        before = self._shortage
        while time.monotonic() < until and not self._wake.wait(DISK_SECONDS):
            self._shortage = self._disk.shortage()
            if self._shortage:
                self._set_aside()
            elif before:
                return  # there is room again

    def _set_aside(self) -> None:
        """Have every engine write a checkpoint and go, while there is room for that."""
        with self._lock:
            attempts = list(self._attempts.values())
        for attempt in attempts:
            attempt.set_aside(
                f"{self._shortage} The job was set aside, and goes on by itself when there is room."
            )

    def _reconcile(self) -> None:
        with self._lock:
            ours = set(self._attempts)
        grace = self._settings.engine_stop_timeout_seconds
        cancelled = reconcile(
            self._store,
            self._around.reports,
            self._settings.data_dir,
            grace,
            self._stopping,
            but=ours,
        )
        for job in cancelled:
            self._settling.cancelled(job)
        if not self._booted:
            self._cluster.remove_leftovers()
            self._booted = True
        self._reconciled.set()

    def _start_waiting(self) -> None:
        most = self._settings.max_running_jobs
        because = (
            f"{most} {'job runs' if most == 1 else 'jobs run'} already, as many as this service "
            f"runs at once (max_running_jobs = {most}); this one starts when one of them ends."
        )
        self._shortage = self._disk.shortage()
        waiting = list(all_jobs(self._store, {"queued", "recovering"}))
        for job in reversed(waiting):
            if self._stopping.is_set():
                return
            with self._lock:
                if job.id in self._attempts:
                    continue  # its last engine is leaving; its end wakes us
                if self._shortage:
                    if job.queued_because != self._shortage:
                        self._store.set_queued_because(job.id, self._shortage)
                    continue
                if not self._waits.is_over(job.id):
                    continue
                if len(self._attempts) < most:
                    self._begin(job)
                elif job.queued_because != because:
                    self._store.set_queued_because(job.id, because)

    def _begin(self, job: Job) -> None:
        number = self._store.begin_attempt(job.id, allowed=("queued", "recovering"))
        if number is None:  # cancelled or paused meanwhile
            return
        if number == 1:
            self._metrics.queue_wait((self._clock() - job.created_at).total_seconds())
        attempt = Attempt(job.id, number, self._around, self._ended)
        self._attempts[job.id] = attempt
        try:
            attempt.start()
        except RuntimeError as error:
            del self._attempts[job.id]
            self._settling.machine_exhausted(job.id, number, what_lacks(error) or str(error))

    def _ended(self, attempt: Attempt) -> None:
        with self._lock:
            del self._attempts[attempt.job_id]
            if not attempt.settled:
                self._reconciled.clear()  # the service failed; look after the job again
        self.notify()


def _refuse(job: Job, what: str) -> NoReturn:
    remedy = {
        "pausing": "wait until it is paused.",
        "cancelling": "submit it again instead.",
    }.get(job.status, "it has ended; submit it again instead.")
    raise ConflictError(
        f"Job {job.id} is {job.status} and cannot be {what}: {remedy}", code=f"job_{job.status}"
    )
