"""What becomes of a job when an attempt at it is over."""

from collections.abc import Collection
from typing import Any

from batchgrad.contract import TERMINAL, Job, JobStatus
from batchgrad_engine.messages import Finished
from batchgrad_service.jobs.restarts import RESTART_WAIT_SECONDS, ReconnectBackoff, RestartBudget
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.store import PatientStore, Store

UNDER_WAY: frozenset[JobStatus] = frozenset({"starting", "running"})
DISK_WAIT_SECONDS = 10.0
"""The longest wait before a job whose disk was full is tried again."""
ACTIVE: frozenset[JobStatus] = UNDER_WAY | {"pausing", "cancelling"}


class JobLifecycle:
    """Moves jobs on by what their engines said last, or by their silence.

    Each method is safe against a cancel or pause that comes at the same time: every change is
    conditional, and what was asked meanwhile wins over a restart.
    """

    def __init__(
        self,
        store: Store | PatientStore,
        metrics: Metrics,
        budget: RestartBudget,
        waits: ReconnectBackoff,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._budget = budget
        self._waits = waits

    def finished(self, job_id: str, attempt: int, said: Finished) -> bool:
        """Carry out an engine's last word; False for `interrupted`, which decides nothing."""
        if said.outcome == "interrupted":
            return False
        data = {"detail": said.detail} if said.detail else {}
        self._metrics.forget(job_id)  # before its status says so: who sees that sees no series
        match said.outcome:
            case "succeeded" | "failed" | "cancelled":
                self._to(job_id, attempt, said.outcome, ACTIVE, said.reason, data)
            case "paused":
                self._stopped(job_id, attempt, "paused", None, data)
        return True

    def interrupted(self, job_id: str, attempt: int) -> None:
        """The service ended the engine, to stop itself: the job goes on when it is back."""
        detail = "The service was stopped; the job goes on from its checkpoint when it is back."
        self._stopped(job_id, attempt, "recovering", "service_stopped", {"detail": detail})

    def died(self, job_id: str, attempt: int, reason: str, detail: str, log: list[str]) -> None:
        """The engine ended unasked: try again from the newest checkpoint, or give the job up.

        The first time at once. Where that did not help, later and later: what is wrong may pass.
        """
        at_most = self._store.job_inputs(job_id).spec.max_restarts
        newest = self._newest_step(job_id)
        spent = self._budget.spend(job_id, newest, at_most)
        data: dict[str, Any] = {"detail": detail, "log": log}
        if spent.allowed:
            data |= {"restart": spent.restarts, "max_restarts": at_most}
            if spent.restarts > 1:
                seconds = self._waits.begin(job_id, newest, least_seconds=RESTART_WAIT_SECONDS)
                data |= {
                    "detail": f"{detail} The job tries again in {seconds:g} s.",
                    "again_seconds": seconds,
                }
            self._stopped(job_id, attempt, "recovering", reason, data)
        else:
            self._stopped(job_id, attempt, "failed", reason, data)

    def cluster_away(self, job_id: str, attempt: int, detail: str, log: list[str]) -> None:
        """A cluster of the user's own is out of reach: the job waits for it, however long."""
        seconds = self._waits.begin(job_id, self._newest_step(job_id))
        detail = f"{detail} The job tries again in {seconds:g} s, until it is back."
        data = {"detail": detail, "log": log, "again_seconds": seconds}
        self._stopped(job_id, attempt, "recovering", "cluster_lost", data)

    def machine_exhausted(self, job_id: str, attempt: int, lacking: str) -> None:
        """No engine could be started, for want of what others have now: that costs no restart."""
        seconds = self._waits.begin(job_id, self._newest_step(job_id))
        detail = (
            f"The machine has no {lacking} left for an engine. The job tries again in "
            f"{seconds:g} s, until it has."
        )
        data = {"detail": detail, "again_seconds": seconds}
        self._stopped(job_id, attempt, "recovering", "machine_exhausted", data)

    def set_aside(self, job_id: str, attempt: int, why: str) -> None:
        """The disk is nearly full: the engine wrote a checkpoint, the job waits for room."""
        self._stopped(job_id, attempt, "recovering", "disk_full", {"detail": why})

    def disk_full(self, job_id: str, attempt: int, detail: str) -> None:
        """The engine could not write: the job goes on from what it wrote before, with room."""
        seconds = self._waits.begin(job_id, self._newest_step(job_id), DISK_WAIT_SECONDS)
        detail = f"{detail} The job tries again in {seconds:g} s, until there is room."
        data = {"detail": detail, "again_seconds": seconds}
        self._stopped(job_id, attempt, "recovering", "disk_full", data)

    def cancelled(self, job: Job) -> None:
        """Account for a job that ended without an engine."""
        self.forget(job.id)
        self._metrics.finished("cancelled", job.reason)

    def forget(self, job_id: str) -> None:
        """What went wrong so far counts no more."""
        self._budget.forget(job_id)
        self._waits.forget(job_id)

    def _newest_step(self, job_id: str) -> int:
        """The step of its newest checkpoint; -1 if it has none."""
        steps = [stored.checkpoint.step for stored in self._store.checkpoints(job_id)]
        return max(steps, default=-1)

    def _stopped(
        self, job_id: str, attempt: int, to: JobStatus, reason: str | None, data: dict[str, Any]
    ) -> None:
        self._metrics.forget(job_id)
        while True:  # a pause or cancel may come between two of these
            if (
                self._to(job_id, attempt, "cancelled", {"cancelling"}, None, data)
                or self._to(job_id, attempt, "paused", {"pausing"}, None, data)
                or self._to(job_id, attempt, to, UNDER_WAY, reason, data)
            ):
                return
            job = self._store.job(job_id)
            if job.attempts != attempt or job.status not in ACTIVE:
                return  # settled already

    def _to(
        self,
        job_id: str,
        attempt: int,
        to: JobStatus,
        allowed: Collection[JobStatus],
        reason: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> bool:
        job = self._store.transition(
            job_id, to=to, allowed=allowed, reason=reason, attempt=attempt, data=data
        )
        if job is not None and to in TERMINAL:
            self.forget(job_id)
            self._metrics.finished(to, reason)
        return job is not None
