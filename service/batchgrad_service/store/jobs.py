"""The table of jobs: create, read, list, count, delete."""

import secrets
from collections.abc import Callable, Collection
from datetime import datetime

from sqlalchemy import Column, ColumnElement, delete, func, insert, or_, select

from batchgrad.contract import JOB_STATUSES, TERMINAL, Job, JobSpec, JobStatus, Page, Plan
from batchgrad_service.problems import ConflictError
from batchgrad_service.store.database import Database
from batchgrad_service.store.privacy import PRIVATE_JOB, PrivateJob, reserve
from batchgrad_service.store.records import (
    JobInputs,
    append_event,
    from_cursor,
    job_of,
    job_row,
    replayed,
    spending_digests,
    to_cursor,
)
from batchgrad_service.store.schema import events, idempotency_keys, job_labels, jobs, step_blocks

DELETED_ROWS = 100
"""How many blocks or events are deleted at a time, while others wait to write."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts as its values do


def new_job_id(milliseconds: int, random: int) -> str:
    """Return "job_" and 16 base-32 digits: 48 bits of time (ids sort by age), 32 random bits."""
    number = (milliseconds << 32) | random
    return "job_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(75, -1, -5))


class JobRows(Database):
    """The table `jobs`, and the rows of other tables that belong to a job."""

    _newest_id_time: int = 0  # milliseconds; guarded by the write lock

    def _next_id(self, now: datetime) -> str:
        self._newest_id_time = max(int(now.timestamp() * 1000), self._newest_id_time + 1)
        return new_job_id(self._newest_id_time, secrets.randbits(32))

    def create_job(
        self,
        spec: JobSpec,
        *,
        dataset_digest: str,
        validation_digest: str | None = None,
        steps_planned: int,
        warnings: list[str],
        plan: Plan,
        initial_parameters: str | None,
        idempotency_key: str | None,
        body_digest: str,
        request_id: str | None = None,
        private: PrivateJob | None = None,
        keep_key: Callable[[str], None] | None = None,
    ) -> tuple[Job, bool]:
        """Create a queued job, and its events `state`, `plan` and `warning`; return it, and True.

        If the `idempotency_key` came before with the same `body_digest`, return that earlier job,
        and False; if it came with another body, raise IdempotencyConflictError.

        The ε of a `private` job is reserved on its datasets; `keep_key` is called with its id
        before the commit, since a stored job has a key.

        Raises:
            ConflictError: a dataset's budget does not hold the job's ε.
        """
        with self.writing() as connection:
            earlier = replayed(connection, idempotency_key, body_digest)
            if earlier is not None:
                return earlier, False
            now = self._clock()
            job_id = self._next_id(now)
            if private is not None:
                digests = spending_digests(spec, dataset_digest, validation_digest)
                reserve(connection, job_id, private, digests)
            connection.execute(
                insert(jobs).values(
                    id=job_id,
                    name=spec.name,
                    status="queued",
                    spec=spec.model_dump(mode="json"),
                    dataset_digest=dataset_digest,
                    validation_digest=validation_digest,
                    initial_parameters=initial_parameters,
                    code=spec.model.code,
                    request_id=request_id,
                    warnings=warnings,
                    attempts=0,
                    last_event=0,
                    created_at=now,
                    step=0,
                    steps_planned=steps_planned,
                    epoch=0,
                    shortcuts={},
                    privacy=None
                    if private is None
                    else PRIVATE_JOB.dump_python(private, mode="json"),
                    epsilon_spent=None if private is None or private.planned.unsafe else 0.0,
                )
            )
            if spec.labels:
                connection.execute(
                    insert(job_labels),
                    [{"job_id": job_id, "label": k, "value": v} for k, v in spec.labels.items()],
                )
            if idempotency_key is not None:
                connection.execute(
                    insert(idempotency_keys).values(
                        key=idempotency_key, body_digest=body_digest, job_id=job_id
                    )
                )
            append_event(connection, job_id, "state", {"status": "queued", "reason": None}, now)
            append_event(connection, job_id, "plan", plan.model_dump(mode="json"), now)
            for warning in warnings:
                append_event(connection, job_id, "warning", {"detail": warning}, now)
            if keep_key is not None:
                keep_key(job_id)
            return job_of(job_row(connection, job_id)), True

    def replayed_job(self, idempotency_key: str, body_digest: str) -> Job | None:
        """Return the job that this key created, if any. Raises IdempotencyConflictError."""
        with self.reading() as connection:
            return replayed(connection, idempotency_key, body_digest)

    def job(self, job_id: str) -> Job:
        """One job; NotFoundError when there is none."""
        with self.reading() as connection:
            return job_of(job_row(connection, job_id))

    def job_inputs(self, job_id: str) -> JobInputs:
        """Return an engine's inputs for the current attempt. Raises NotFoundError."""
        with self.reading() as connection:
            row = job_row(connection, job_id)
        return JobInputs(
            spec=JobSpec.model_validate(row["spec"]),
            dataset_digest=row["dataset_digest"],
            validation_digest=row["validation_digest"],
            initial_parameters=row["initial_parameters"],
            code=row["code"],
            request_id=row["request_id"],
            attempt=row["attempts"],
            lengthened_step=row["lengthened_step"],
        )

    def jobs(
        self,
        *,
        statuses: Collection[JobStatus] | None = None,
        label: tuple[str, str] | None = None,
        search: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> Page[Job]:
        """Return at most `limit` jobs, the newest first; `after` is the previous page's cursor.

        Each word of `search` is a part of the job's name, id, dataset, or a label KEY=VALUE.
        """
        query = select(jobs).order_by(jobs.c.id.desc()).limit(limit + 1)
        if statuses is not None:
            query = query.where(jobs.c.status.in_(statuses))
        if label is not None:
            marked = select(job_labels.c.job_id).where(
                job_labels.c.label == label[0], job_labels.c.value == label[1]
            )
            query = query.where(jobs.c.id.in_(marked))
        query = query.where(*map(_contains, (search or "").split()))
        if after is not None:
            query = query.where(jobs.c.id < from_cursor(after))
        with self.reading() as connection:
            found = [job_of(row) for row in connection.execute(query).mappings()]
        more = len(found) > limit
        return Page[Job](data=found[:limit], next=to_cursor(found[limit - 1].id) if more else None)

    def delete_job(self, job_id: str) -> None:
        """Delete a job that has ended and all its rows; the caller removes its files.

        Its blocks and events are deleted first, a few at a time, so that others can write
        meanwhile; after an interruption, delete it again. `give_back` then frees the disk space.
        """
        for table, key in ((step_blocks, step_blocks.c.last), (events, events.c.seq)):
            some = select(key).where(table.c.job_id == job_id).limit(DELETED_ROWS)
            while True:
                with self.writing() as connection:
                    if job_row(connection, job_id)["status"] not in TERMINAL:
                        break  # refused below; it may have been resumed meanwhile
                    change = delete(table).where(table.c.job_id == job_id, key.in_(some))
                    if connection.execute(change).rowcount < DELETED_ROWS:
                        break
        with self.writing(job_id) as connection:
            status = job_row(connection, job_id)["status"]
            if status not in TERMINAL:
                other = (
                    "resume it and wait for its end" if status == "paused" else "wait for its end"
                )
                raise ConflictError(
                    f"Job {job_id} is {status}: only a job that has ended can be deleted. Cancel "
                    f"it, or {other}, then delete.",
                    code="job_not_finished",
                )
            connection.execute(delete(jobs).where(jobs.c.id == job_id))

    def count_by_status(self) -> dict[JobStatus, int]:
        """Return the number of jobs with each status, including 0."""
        query = select(jobs.c.status, func.count().label("jobs")).group_by(jobs.c.status)
        with self.reading() as connection:
            counts = {row.status: row.jobs for row in connection.execute(query)}
        return {status: counts.get(status, 0) for status in JOB_STATUSES}

    def parameters_in_use(self, digest: str) -> bool:
        """Whether a job, ended or not, starts from these stored parameters."""
        return self._names(jobs.c.initial_parameters, digest)

    def code_in_use(self, digest: str) -> bool:
        """Whether a job, ended or not, brought this code along."""
        return self._names(jobs.c.code, digest)

    def _names(self, column: Column[str], digest: str) -> bool:
        query = select(jobs.c.id).where(column == digest).limit(1)
        with self.reading() as connection:
            return connection.execute(query).first() is not None


def _contains(word: str) -> ColumnElement[bool]:
    """Whether a job can be found by this word, in upper or lower case."""
    texts = (jobs.c.name, jobs.c.id, jobs.c.spec["dataset"].as_string())
    pair = job_labels.c.label + "=" + job_labels.c.value
    marked = select(job_labels.c.job_id).where(pair.icontains(word, autoescape=True))
    return or_(*(text.icontains(word, autoescape=True) for text in texts), jobs.c.id.in_(marked))
