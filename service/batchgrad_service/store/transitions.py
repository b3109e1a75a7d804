"""How a job changes its status: by condition, with its event in the same transaction."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import func, update

from batchgrad.contract import TERMINAL, Job, JobStatus
from batchgrad_service.store.database import Database
from batchgrad_service.store.records import append_event, job_of, job_row
from batchgrad_service.store.schema import jobs

_WAITING: tuple[JobStatus, ...] = ("queued",)


class Transitions(Database):
    """Changes of a job's status."""

    def transition(
        self,
        job_id: str,
        *,
        to: JobStatus,
        allowed: Collection[JobStatus],
        reason: str | None = None,
        attempt: int | None = None,
        data: dict[str, Any] | None = None,
    ) -> Job | None:
        """Move a job to `to` if its status is in `allowed` (and `attempt`, if given, current).

        Writes the `state` event {status, reason, **data} with it, and after a terminal one the
        last event, `end`. None, and nothing changes, when the condition does not hold.
        """
        return self._transition(job_id, to, allowed, reason, attempt, data, {})

    def begin_attempt(
        self, job_id: str, *, allowed: Collection[JobStatus] = _WAITING
    ) -> int | None:
        """Move a waiting job to starting; the number of the new attempt, None if not waiting.

        A recovery may go straight on: pass `allowed=("recovering",)`.
        """
        more = {"attempts": jobs.c.attempts + 1}
        job = self._transition(job_id, "starting", allowed, None, None, None, more)
        return None if job is None else job.attempts

    def _transition(
        self,
        job_id: str,
        to: JobStatus,
        allowed: Collection[JobStatus],
        reason: str | None,
        attempt: int | None,
        data: dict[str, Any] | None,
        more: dict[str, Any],
    ) -> Job | None:
        with self.writing(job_id) as connection:
            now = self._clock()
            change = (
                update(jobs)
                .where(jobs.c.id == job_id, jobs.c.status.in_(allowed))
                .values(status=to, reason=reason, queued_because=None, **more)
                .values(detail=(data or {}).get("detail"))
            )
            if attempt is not None:
                change = change.where(jobs.c.attempts == attempt)
            if to == "running":
                change = change.values(started_at=func.coalesce(jobs.c.started_at, now))
            if to in TERMINAL:
                change = change.values(finished_at=now)
            if connection.execute(change).rowcount == 0:
                return None
            state = {"status": to, "reason": reason}
            append_event(connection, job_id, "state", {**state, **(data or {})}, now)
            if to in TERMINAL:
                append_event(connection, job_id, "end", state, now)
            return job_of(job_row(connection, job_id))

    def set_queued_because(self, job_id: str, text: str | None) -> None:
        """Say why a queued job waits; nothing happens to a job that is not queued."""
        with self.writing(job_id) as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id, jobs.c.status == "queued")
                .values(queued_because=text)
            )
