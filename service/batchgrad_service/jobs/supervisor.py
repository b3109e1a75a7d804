"""Run queued jobs in the order of their submission: start attempts, suspend them on a full disk."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from batchgrad.contract import Job, ResumeRequest
from batchgrad_service.datasets.sources import Sources
from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.jobs.attempt import Attempt
from batchgrad_service.jobs.context import AttemptContext, Cluster
from batchgrad_service.jobs.engine_process import ENGINE_COMMAND, EngineProcess
from batchgrad_service.jobs.lifecycle import JobLifecycle
from batchgrad_service.jobs.recovery import all_jobs, reconcile
from batchgrad_service.jobs.reports import Reports
from batchgrad_service.jobs.restarts import ReconnectBackoff, RestartBudget
from batchgrad_service.jobs.user_commands import UserCommands
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.privacy.jobs import PrivateJobs
from batchgrad_service.privacy.keys import Keys
from batchgrad_service.ray_head.cluster import RayCluster
from batchgrad_service.settings import Settings
from batchgrad_service.store import RetryingStore, Store, StoreRetry, StoreUnavailable, utc_now
from batchgrad_workers.system.exhaustion import exhausted_resource

log = logging.getLogger(__name__)

CYCLE_SECONDS = 5.0
DISK_CHECK_SECONDS = 1.0
KILLED_SECONDS = 10.0
ENGINE_EXIT_SECONDS = 5.0
"""How long an engine may take to exit after its last message when its job is to be deleted."""


class Supervisor:
    """Runs at most `settings.max_running_jobs` jobs, first come first served.

    Call `start` and `stop` once each; `cancel`, `pause`, `resume`, `lengthen`, `end_engine`,
    `ledger`, `notify` and `ready` from any thread. Every change of a job's status is conditional
    in the database, so that two threads that change the same job have one outcome.
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
        disk: DiskSpace | None = None,
        backoff: ReconnectBackoff | None = None,
        start_engine: Callable[..., EngineProcess] = EngineProcess,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._disk = disk or DiskSpace(settings.folders, settings.min_free_disk_bytes)
        self._cluster = cluster or RayCluster(
            settings.data_dir,
            settings.ray_address,
            object_store_memory_bytes=settings.object_store_memory_bytes,
        )
        self._backoff = backoff or ReconnectBackoff()
        self._retry = StoreRetry()
        keys = Keys(settings.data_dir)
        self._private = PrivateJobs(store, keys, settings.data_dir)
        patient = PrivateJobs(RetryingStore(store, self._retry), keys, settings.data_dir)
        self._lifecycle = JobLifecycle(
            RetryingStore(store, self._retry),
            metrics,
            RestartBudget(),
            self._backoff,
            private=patient,
            own_cluster=settings.ray_address is not None,
        )
        self._context = AttemptContext(
            store=store,
            metrics=metrics,
            reports=Reports(store, metrics, settings.data_dir),
            lifecycle=self._lifecycle,
            private=patient,
            cluster=self._cluster,
            settings=settings,
            sources=sources or Sources(settings),
            engine_command=engine_command,
            start_engine=start_engine,
            retry=self._retry,
        )
        self._lock = threading.RLock()  # guards _attempts, and the statuses that depend on it
        self._attempts: dict[str, Attempt] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._reconciled = threading.Event()
        self._leftovers_removed = False
        self._shortage = ""  # of disk space
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._commands = UserCommands(
            store, self._lifecycle, self._private, self._attempts, self._lock, self.notify
        )

    def start(self) -> None:
        """Start to run jobs; first, jobs of an earlier service end or are queued again."""
        self._thread.start()

    def stop(self, grace: float | None = None) -> None:
        """Let every engine write its checkpoint, for at most `grace` seconds; end all processes."""
        grace = self._settings.engine_stop_timeout_seconds if grace is None else grace
        self._stopping.set()
        self._wake.set()
        self._retry.give_up_after(grace / 3)  # a database that is busy must not block the stop
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
        """Wake the supervisor, because a waiting job may have changed."""
        self._wake.set()

    def cancel(self, job_id: str) -> Job:
        """See `UserCommands.cancel`."""
        return self._commands.cancel(job_id)

    def pause(self, job_id: str) -> Job:
        """See `UserCommands.pause`."""
        return self._commands.pause(job_id)

    def resume(self, job_id: str) -> Job:
        """See `UserCommands.resume`."""
        return self._commands.resume(job_id)

    def lengthen(
        self, job_id: str, more: ResumeRequest, idempotency_key: str | None, body_digest: str
    ) -> Job:
        """See `UserCommands.lengthen`."""
        return self._commands.lengthen(job_id, more, idempotency_key, body_digest)

    def end_engine(self, job_id: str, seconds: float = ENGINE_EXIT_SECONDS) -> None:
        """Wait until an ended job has no engine that may write to its files; kill it if needed."""
        with self._lock:
            attempt = self._attempts.get(job_id)
        if attempt is not None and not attempt.join(seconds):
            attempt.kill()
            attempt.join(KILLED_SECONDS)

    def ledger(self, job_id: str, seconds: float) -> Path | None:
        """Return a running job's example ledger, just written; None if that takes longer."""
        with self._lock:
            attempt = self._attempts.get(job_id)
        return None if attempt is None else attempt.ledger(seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._log_errors(self._cycle)
            self._log_errors(self._wait)
            self._wake.clear()

    def _log_errors(self, do: Callable[[], None]) -> None:
        """Log any error of `do` (such as a network disk that fails): the next cycle may succeed."""
        try:
            do()
        except StoreUnavailable as error:
            log.warning("The supervisor waits for the database: %s", error.detail)
        except Exception:
            log.exception("The supervisor failed; it tries again.")
            self._stopping.wait(CYCLE_SECONDS)

    def _cycle(self) -> None:
        if not self._reconciled.is_set():
            self._reconcile()
        self._start_waiting()

    def _wait(self) -> None:
        """Wait for the next cycle, and check the disk's free space meanwhile."""
        until = time.monotonic() + CYCLE_SECONDS
        before = self._shortage
        while time.monotonic() < until and not self._wake.wait(DISK_CHECK_SECONDS):
            self._shortage = self._disk.shortage()
            if self._shortage:
                self._suspend_all()
            elif before:
                return  # there is space again

    def _suspend_all(self) -> None:
        """Have every engine write a checkpoint and end, while there is space for that."""
        with self._lock:
            attempts = list(self._attempts.values())
        for attempt in attempts:
            attempt.suspend(
                f"{self._shortage} The job is suspended, and continues by itself when there is "
                "space."
            )

    def _reconcile(self) -> None:
        with self._lock:
            ours = set(self._attempts)
        cancelled = reconcile(
            self._store,
            self._context.reports,
            self._private,
            self._settings.data_dir,
            self._settings.engine_stop_timeout_seconds,
            self._stopping,
            skip=ours,
        )
        for job in cancelled:
            self._lifecycle.cancelled(job)
        if not self._leftovers_removed:
            self._cluster.remove_leftovers()
            self._leftovers_removed = True
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
                    continue  # its previous engine is ending, which wakes the supervisor
                if self._shortage:
                    if job.queued_because != self._shortage:
                        self._store.set_queued_because(job.id, self._shortage)
                    continue
                if not self._backoff.may_try(job.id):
                    continue
                if len(self._attempts) < most:
                    self._begin(job)
                elif job.queued_because != because:
                    self._store.set_queued_because(job.id, because)

    def _begin(self, job: Job) -> None:
        number = self._store.begin_attempt(job.id)
        if number is None:  # cancelled or paused meanwhile
            return
        if number == 1:
            self._metrics.queue_wait((self._clock() - job.created_at).total_seconds())
        attempt = Attempt(job.id, number, self._context, self._ended)
        self._attempts[job.id] = attempt
        try:
            attempt.start()
        except RuntimeError as error:
            del self._attempts[job.id]
            lacking = exhausted_resource(error) or str(error)
            self._lifecycle.machine_exhausted(job.id, number, lacking)

    def _ended(self, attempt: Attempt) -> None:
        with self._lock:
            del self._attempts[attempt.job_id]
            if not attempt.status_stored:
                self._reconciled.clear()  # the service failed; reconcile the job again
        self.notify()
