"""Carry out what users command: cancel, pause, resume and lengthen a job."""

import threading
from collections.abc import Callable, Mapping
from typing import Literal, NoReturn

from batchgrad.contract import TERMINAL, Job, ResumeRequest
from batchgrad_service.jobs.attempt import Attempt
from batchgrad_service.jobs.lengthening import longer
from batchgrad_service.jobs.lifecycle import JobLifecycle
from batchgrad_service.privacy.jobs import PrivateJobs
from batchgrad_service.problems import ConflictError
from batchgrad_service.store import Store


class UserCommands:
    """Change a job's status as its user commands, and tell its engine. Thread-safe.

    `attempts` are the running ones by job, guarded by `lock`; `notify` wakes the supervisor.
    """

    def __init__(
        self,
        store: Store,
        lifecycle: JobLifecycle,
        private: PrivateJobs,
        attempts: Mapping[str, Attempt],
        lock: threading.RLock,
        notify: Callable[[], None],
    ) -> None:
        self._store = store
        self._lifecycle = lifecycle
        self._private = private
        self._attempts = attempts
        self._lock = lock
        self._notify = notify

    def cancel(self, job_id: str) -> Job:
        """End a job at its next step boundary, or at once if it has no engine. Idempotent.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: the job has ended.
        """
        while True:
            with self._lock:
                job = self._store.job(job_id)
                if job.status in TERMINAL:
                    _refuse(job, "cancelled")
                if job.status == "cancelling":
                    return job
                changed = self._store.transition(
                    job_id,
                    to="cancelled",
                    allowed={"queued", "paused", "recovering"},
                    epsilon_spent=self._private.epsilon_spent(job_id),
                )
                if changed is not None:
                    self._lifecycle.cancelled(changed)
                    return changed
                changed = self._send(job_id, "cancel")
            if changed is not None:
                return changed

    def pause(self, job_id: str) -> Job:
        """Stop a job at its next step boundary, to be resumed later. Idempotent.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: the job has ended or is being cancelled.
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
                ) or self._send(job_id, "pause")
            if changed is not None:
                return changed

    def resume(self, job_id: str) -> Job:
        """Queue a paused job; a queued or running job stays as it is.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: the job has ended, is being cancelled, or is not paused yet.
        """
        job = self._store.transition(job_id, to="queued", allowed={"paused"})
        if job is None:
            job = self._store.job(job_id)
            if job.status in TERMINAL or job.status in {"cancelling", "pausing"}:
                _refuse(job, "resumed")
            return job
        self._lifecycle.reset(job_id)
        self._notify()
        return job

    def lengthen(
        self, job_id: str, more: ResumeRequest, idempotency_key: str | None, body_digest: str
    ) -> Job:
        """Queue a job that has ended, to train on from its newest checkpoint.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: the job has not ended, or has no checkpoint.
            InvalidError: it would be too long; the key was used for another request.
        """
        if idempotency_key is not None:
            earlier = self._store.replayed_job(idempotency_key, body_digest)
            if earlier is not None:
                return earlier
        job, kept = self._store.job(job_id), self._store.checkpoints(job_id)
        if job.status not in TERMINAL:
            raise ConflictError(
                f"Job {job_id} is {job.status}: only a job that has ended can train for more "
                "epochs or steps. Wait for its end.",
                code="job_not_ended",
            )
        if not kept:
            raise ConflictError(
                f"Job {job_id} {job.status} before its first checkpoint: submit it again instead.",
                code="ended_without_checkpoint",
            )
        step = kept[0].checkpoint.step
        wanted = longer(job.spec, step, self._steps_per_epoch(job), more)
        changed = self._store.lengthen(
            job_id,
            wanted.spec,
            steps_planned=wanted.steps_planned,
            from_step=wanted.from_step,
            warnings=wanted.warnings,
            idempotency_key=idempotency_key,
            body_digest=body_digest,
        )
        if changed is None:  # deleted, or resumed by another request
            raise ConflictError(
                f"Job {job_id} has changed meanwhile: read it, then try again.",
                code="job_not_ended",
            )
        self._lifecycle.reset(job_id)
        self._notify()
        return changed

    def _steps_per_epoch(self, job: Job) -> int:
        """From the length in epochs, or else from the plan, one of a job's first events."""
        if job.spec.epochs is not None:
            return job.steps_planned // job.spec.epochs
        first = self._store.events(job.id, limit=10).data
        plans = [event.data for event in first if event.type == "plan"]
        return int(plans[0]["steps_per_epoch"])

    def _send(self, job_id: str, command: Literal["pause", "cancel"]) -> Job | None:
        """Mark a job that is under way and tell its engine, if this service started one.

        Another engine ends with its own service; `reconcile` then acts on the mark.
        """
        changed = self._store.transition(
            job_id, to="pausing" if command == "pause" else "cancelling"
        )
        attempt = self._attempts.get(job_id)
        if changed is not None and attempt is not None:
            attempt.send(command)
        return changed


def _refuse(job: Job, what: str) -> NoReturn:
    remedy = {
        "pausing": "wait until it is paused.",
        "cancelling": "submit it again instead.",
    }.get(job.status, "it has ended; resume it with more_epochs or more_steps to train on.")
    raise ConflictError(
        f"Job {job.id} is {job.status} and cannot be {what}: {remedy}", code=f"job_{job.status}"
    )
