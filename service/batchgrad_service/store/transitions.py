"""Change a job's status: conditionally, together with its event, and only as TRANSITIONS allows."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, func, insert, update

from batchgrad.contract import TERMINAL, TRANSITIONS, Job, JobSpec, JobStatus
from batchgrad.contract.statuses import statuses_before
from batchgrad_service.store.database import Database
from batchgrad_service.store.privacy import set_epsilon_spent, settle
from batchgrad_service.store.records import append_event, job_of, job_row, replayed
from batchgrad_service.store.schema import events, idempotency_keys, jobs


class IllegalTransitionError(ValueError):
    """TRANSITIONS does not allow this change of a status: the caller has a bug."""


class Transitions(Database):
    """Changes of a job's status; nothing else writes one, except a new job's `queued`."""

    def transition(
        self,
        job_id: str,
        *,
        to: JobStatus,
        allowed: Collection[JobStatus] | None = None,
        reason: str | None = None,
        attempt: int | None = None,
        data: dict[str, Any] | None = None,
        epsilon_spent: float | None = None,
    ) -> Job | None:
        """Change a job's status to `to` if it is in `allowed` (and `attempt`, if given, current).

        By default `allowed` has every status from which TRANSITIONS allows the change. Adds the
        `state` event {status, reason, **data} in the same transaction and, when the job ends, its
        last event, `end`, which becomes `state` if the job is resumed: no event follows `end`.
        `epsilon_spent`, of a private job that ends, takes the place of what it had reserved.
        Returns None and changes nothing if the condition does not hold.

        Raises:
            IllegalTransitionError: TRANSITIONS does not allow `to` after a status in `allowed`.
        """
        with self.writing(job_id) as connection:
            job = self._change(connection, job_id, to, allowed, reason, attempt, data, {})
            if job is None or epsilon_spent is None or to not in TERMINAL:
                return job
            settle(connection, job_id, epsilon_spent)
            set_epsilon_spent(connection, job_id, epsilon_spent)
            return job_of(job_row(connection, job_id))

    def lengthen(
        self,
        job_id: str,
        spec: JobSpec,
        *,
        steps_planned: int,
        from_step: int,
        warnings: list[str],
        idempotency_key: str | None,
        body_digest: str,
    ) -> Job | None:
        """Queue a job that has ended with a longer `spec`, to train on from step `from_step`.

        Returns None and changes nothing if the job has not ended. If the `idempotency_key` came
        before with the same `body_digest`, returns the job as it is.

        Raises:
            IdempotencyConflictError: the key came before with another body.
        """
        more = {
            "spec": spec.model_dump(mode="json"),
            "steps_planned": steps_planned,
            "lengthened_step": from_step,
        }
        data = {"detail": f"The job trains on from step {from_step} to step {steps_planned}."}
        with self.writing(job_id) as connection:
            earlier = replayed(connection, idempotency_key, body_digest)
            if earlier is not None:
                return earlier
            before = job_row(connection, job_id)["warnings"]
            new = [warning for warning in warnings if warning not in before]
            more["warnings"] = [*before, *new]
            job = self._change(connection, job_id, "queued", TERMINAL, None, None, data, more)
            if job is None:
                return None
            for warning in warnings:
                append_event(connection, job_id, "warning", {"detail": warning}, self._clock())
            if idempotency_key is not None:
                key = {"key": idempotency_key, "body_digest": body_digest, "job_id": job_id}
                connection.execute(insert(idempotency_keys).values(**key))
            return job

    def begin_attempt(self, job_id: str) -> int | None:
        """Change a waiting job's status to `starting`; return the new attempt's number.

        None if the job does not wait, that is, if it is neither `queued` nor `recovering`.
        """
        more = {"attempts": jobs.c.attempts + 1}
        with self.writing(job_id) as connection:
            job = self._change(connection, job_id, "starting", None, None, None, None, more)
        return None if job is None else job.attempts

    def _change(
        self,
        connection: Connection,
        job_id: str,
        to: JobStatus,
        allowed: Collection[JobStatus] | None,
        reason: str | None,
        attempt: int | None,
        data: dict[str, Any] | None,
        more: dict[str, Any],
    ) -> Job | None:
        before = statuses_before(to) if allowed is None else allowed
        for status in before:
            if to not in TRANSITIONS[status]:
                raise IllegalTransitionError(
                    f"A job that is {status} cannot become {to}; TRANSITIONS allows "
                    f"{', '.join(TRANSITIONS[status]) or 'nothing'} after {status}."
                )
        now = self._clock()
        change = (
            update(jobs)
            .where(jobs.c.id == job_id, jobs.c.status.in_(before))
            .values(status=to, reason=reason, queued_because=None, **more)
            .values(detail=(data or {}).get("detail"))
            .values(finished_at=now if to in TERMINAL else None)
        )
        if attempt is not None:
            change = change.where(jobs.c.attempts == attempt)
        if to == "running":
            change = change.values(started_at=func.coalesce(jobs.c.started_at, now))
        if connection.execute(change).rowcount == 0:
            return None
        if to == "queued":
            ended = update(events).where(events.c.job_id == job_id, events.c.type == "end")
            connection.execute(ended.values(type="state"))
        state = {"status": to, "reason": reason}
        append_event(connection, job_id, "state", {**state, **(data or {})}, now)
        if to in TERMINAL:
            append_event(connection, job_id, "end", state, now)
        return job_of(job_row(connection, job_id))

    def set_queued_because(self, job_id: str, text: str | None) -> None:
        """Say why a queued job waits; a job that is not queued stays unchanged."""
        with self.writing(job_id) as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id, jobs.c.status == "queued")
                .values(queued_because=text)
            )
