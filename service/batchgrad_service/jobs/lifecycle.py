"""Change a job's status when an attempt ends: done, retried, or given up."""

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from batchgrad.contract import TERMINAL, Job, JobStatus
from batchgrad.contract.statuses import statuses_before
from batchgrad_engine.messages import Finished
from batchgrad_service.jobs.failures import Failure
from batchgrad_service.jobs.restarts import RESTART_WAIT_SECONDS, ReconnectBackoff, RestartBudget
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.privacy.jobs import PrivateJobs
from batchgrad_service.store import RetryingStore, Store

log = logging.getLogger(__name__)

UNDER_WAY = statuses_before("recovering")
"""Statuses of a job with an engine that the user did not stop."""
ACTIVE = statuses_before("succeeded")
"""Statuses of a job with an engine."""
DISK_WAIT_SECONDS = 10.0
"""The longest wait before a job whose disk was full is tried again."""


class JobLifecycle:
    """Change jobs' statuses by what their engines reported last, or by how they ended.

    A user may cancel or pause the job at the same time: every change is conditional, and the
    user's request wins over a restart. `own_cluster`: the cluster is the user's, not the service's.
    """

    def __init__(
        self,
        store: Store | RetryingStore,
        metrics: Metrics,
        budget: RestartBudget,
        backoff: ReconnectBackoff,
        *,
        private: PrivateJobs,
        own_cluster: bool = False,
    ) -> None:
        self._store = store
        self._private = private
        self._metrics = metrics
        self._budget = budget
        self._backoff = backoff
        self._own_cluster = own_cluster

    def finished(self, job_id: str, attempt: int, message: Finished) -> bool:
        """Store the outcome that an engine reports; False for `interrupted`, which is none."""
        if message.outcome == "interrupted":
            return False
        data = {"detail": message.detail} if message.detail else {}
        self._metrics.forget(job_id)  # before the status: who reads an ended job finds no series
        match message.outcome:
            case "succeeded" | "failed":
                self._change(job_id, attempt, message.outcome, ACTIVE, message.reason, data)
            case "paused" | "cancelled":  # recovering, if the user requested neither
                self._stopped(job_id, attempt, "recovering", message.reason, data)
        return True

    def interrupted(self, job_id: str, attempt: int) -> None:
        """The service ended the engine because it stops: the next start continues the job."""
        detail = "The service was stopped. Its next start continues the job from its checkpoint."
        self._stopped(job_id, attempt, "recovering", "service_stopped", {"detail": detail})

    def suspended(self, job_id: str, attempt: int, because: str) -> None:
        """The disk is nearly full: the engine wrote a checkpoint, and the job waits for space."""
        self._stopped(job_id, attempt, "recovering", "disk_full", {"detail": because})

    def failed(self, job_id: str, attempt: int, failure: Failure) -> None:
        """The engine ended without an outcome: wait for what was missing, restart, or give up.

        The end of a private job's log stays in its folder: a traceback may have numbers of rows.
        """
        if self._store.job_inputs(job_id).spec.privacy is not None:
            failure = replace(failure, log=[])
        match failure.reason:
            case "disk_full":
                log.warning("%s", failure.detail)
                self._disk_full(job_id, attempt, failure.detail)
            case "machine_exhausted":
                log.warning("No engine is started: the machine has no %s left.", failure.detail)
                self.machine_exhausted(job_id, attempt, failure.detail)
            case "cluster_lost" if self._own_cluster:
                log.warning("%s", failure.detail)
                self._cluster_lost(job_id, attempt, failure)
            case "key_gone":  # no attempt can have it
                data = {"detail": failure.detail}
                self._stopped(job_id, attempt, "failed", failure.reason, data)
            case _:
                self._died(job_id, attempt, failure)

    def machine_exhausted(self, job_id: str, attempt: int, lacking: str) -> None:
        """The machine had no `lacking` left for an engine: the job waits and loses no restart."""
        seconds = self._backoff.begin_wait(job_id, self._newest_step(job_id))
        detail = (
            f"The machine has no {lacking} left for an engine. The job tries again in "
            f"{seconds:g} s, until it has."
        )
        data = {"detail": detail, "again_seconds": seconds}
        self._stopped(job_id, attempt, "recovering", "machine_exhausted", data)

    def cancelled(self, job: Job) -> None:
        """Count a job that was cancelled while it had no engine, and destroy its key, if any."""
        self._private.ended(job.id)
        self.reset(job.id)
        self._metrics.finished("cancelled", job.reason)

    def reset(self, job_id: str) -> None:
        """Forget the job's earlier failures: it has all its restarts again, and need not wait."""
        self._budget.reset(job_id)
        self._backoff.reset(job_id)

    def _died(self, job_id: str, attempt: int, failure: Failure) -> None:
        """Restart the job from its newest checkpoint, or give it up after `max_restarts`.

        The first restart is immediate, the later ones wait longer and longer: the cause may pass.
        """
        at_most = self._store.job_inputs(job_id).spec.max_restarts
        newest = self._newest_step(job_id)
        restart = self._budget.spend(job_id, newest, at_most)
        data: dict[str, Any] = {"detail": failure.detail, "log": failure.log}
        if not restart.allowed:
            self._stopped(job_id, attempt, "failed", failure.reason, data)
            return
        data |= {"restart": restart.count, "max_restarts": at_most}
        if restart.count > 1:
            seconds = self._backoff.begin_wait(job_id, newest, least_seconds=RESTART_WAIT_SECONDS)
            data |= {
                "detail": f"{failure.detail} The job tries again in {seconds:g} s.",
                "again_seconds": seconds,
            }
        self._stopped(job_id, attempt, "recovering", failure.reason, data)

    def _cluster_lost(self, job_id: str, attempt: int, failure: Failure) -> None:
        """The user's own cluster cannot be reached: the job waits for it without a limit."""
        seconds = self._backoff.begin_wait(job_id, self._newest_step(job_id))
        detail = f"{failure.detail} The job tries again in {seconds:g} s, until it is back."
        data = {"detail": detail, "log": failure.log, "again_seconds": seconds}
        self._stopped(job_id, attempt, "recovering", "cluster_lost", data)

    def _disk_full(self, job_id: str, attempt: int, detail: str) -> None:
        """The engine could not write: the job continues from its checkpoint when there is space."""
        newest = self._newest_step(job_id)
        seconds = self._backoff.begin_wait(job_id, newest, DISK_WAIT_SECONDS)
        detail = f"{detail} The job tries again in {seconds:g} s, until there is space."
        data = {"detail": detail, "again_seconds": seconds}
        self._stopped(job_id, attempt, "recovering", "disk_full", data)

    def _newest_step(self, job_id: str) -> int:
        """Return the step of the job's newest checkpoint; -1 if it has none."""
        steps = [stored.checkpoint.step for stored in self._store.checkpoints(job_id)]
        return max(steps, default=-1)

    def _stopped(
        self, job_id: str, attempt: int, to: JobStatus, reason: str | None, data: dict[str, Any]
    ) -> None:
        """Store the status after an engine: paused or cancelled on the user's request, or `to`."""
        self._metrics.forget(job_id)
        while True:  # the user may pause or cancel between two of these changes
            if (
                self._change(job_id, attempt, "cancelled", {"cancelling"}, None, data)
                or self._change(job_id, attempt, "paused", {"pausing"}, None, data)
                or self._change(job_id, attempt, to, UNDER_WAY, reason, data)
            ):
                return
            job = self._store.job(job_id)
            if job.attempts != attempt or job.status not in ACTIVE:
                return  # another attempt, or another change, has decided

    def _change(
        self,
        job_id: str,
        attempt: int,
        to: JobStatus,
        allowed: Collection[JobStatus],
        reason: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> bool:
        job = self._store.transition(
            job_id,
            to=to,
            allowed=allowed,
            reason=reason,
            attempt=attempt,
            data=data,
            epsilon_spent=self._private.epsilon_spent(job_id) if to in TERMINAL else None,
        )
        if job is not None and to in TERMINAL:
            self._private.ended(job_id)
            self.reset(job_id)
            self._metrics.finished(to, reason)
        return job is not None
