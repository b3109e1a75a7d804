"""Conversions between database rows and the service's types; events; page cursors."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, RowMapping, insert, select, update
from sqlalchemy.engine import Result

from batchgrad.contract import (
    FIGURES,
    Checkpoint,
    Dataset,
    DatasetPrivacy,
    Event,
    EventType,
    Job,
    JobSpec,
)
from batchgrad_service.problems import IdempotencyConflictError, InvalidError, NotFoundError
from batchgrad_service.store import schema

PutOutcome = Literal["created", "same", "replaced", "conflict"]


@dataclass(frozen=True)
class JobInputs:
    """Inputs of a job's next attempt. Digests are "sha256:…".

    `validation_digest` is of another dataset to validate on, None if there is none.
    """

    spec: JobSpec
    dataset_digest: str
    validation_digest: str | None
    initial_parameters: str | None
    code: str | None
    request_id: str | None
    attempt: int
    lengthened_step: int | None = None

    @property
    def dataset_digests(self) -> list[str]:
        """The digests of all datasets that the job reads."""
        return [self.dataset_digest, *filter(None, [self.validation_digest])]

    @property
    def protected_digests(self) -> list[str]:
        """The digests of the datasets on whose rows a private job spends ε."""
        return spending_digests(self.spec, self.dataset_digest, self.validation_digest)


def spending_digests(spec: JobSpec, own: str, validation: str | None) -> list[str]:
    """The datasets whose rows a job spends ε on; another one to validate on if that is noisy."""
    noisy = spec.privacy is not None and spec.privacy.validation == "noisy"
    return list(dict.fromkeys([own, *([validation] if noisy and validation else [])]))


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint and the name of its file in the job's directory."""

    checkpoint: Checkpoint
    file: str


def job_of(row: RowMapping) -> Job:
    """Convert a row of `jobs` to the API's Job."""
    figures = {name: row["figures"].get(name) for name in FIGURES}
    privacy = row["privacy"] and {
        **row["privacy"]["planned"],
        "epsilon_spent": row["epsilon_spent"],
    }
    labels = row["spec"].get("labels", {})
    return Job.model_validate({**row, **figures, "labels": labels, "privacy": privacy})


def event_of(row: RowMapping) -> Event:
    """Convert a row of `events`."""
    return Event.model_validate(dict(row))


def dataset_of(row: RowMapping, privacy: DatasetPrivacy | None) -> Dataset:
    """Convert a row of `datasets`; `privacy` is what private jobs spent on the content."""
    return Dataset.model_validate({**row, "arrays": row["arrays"] or [], "privacy": privacy})


def checkpoint_of(row: RowMapping) -> StoredCheckpoint:
    """Convert a row of `checkpoints`."""
    return StoredCheckpoint(checkpoint=Checkpoint.model_validate(dict(row)), file=row["file"])


def job_row(connection: Connection, job_id: str) -> RowMapping:
    """Return the row of one job. Raises NotFoundError if there is no such job."""
    found: Result[Any] = connection.execute(select(schema.jobs).where(schema.jobs.c.id == job_id))
    row: Row[Any] | None = found.first()
    if row is None:
        raise no_job(job_id)
    return row._mapping  # noqa: SLF001 - SQLAlchemy's documented name for it


def no_job(job_id: str) -> NotFoundError:
    """Return the problem to raise for an unknown job."""
    return NotFoundError(
        f"There is no job {job_id!r}; GET /v1/jobs lists all jobs.", code="job_not_found"
    )


def replayed(connection: Connection, key: str | None, body_digest: str) -> Job | None:
    """Return the job of the request that had this idempotency key before; None for a new one.

    Raises:
        IdempotencyConflictError: it came with another body.
    """
    if key is None:
        return None
    known = connection.execute(
        select(schema.idempotency_keys).where(schema.idempotency_keys.c.key == key)
    ).first()
    if known is None:
        return None
    if known.body_digest != body_digest:
        raise IdempotencyConflictError(
            f"Idempotency-Key {key!r} came with another request before ({known.job_id}): "
            "send the same body again, or a new key for a new request."
        )
    return job_of(job_row(connection, known.job_id))


def append_event(
    connection: Connection, job_id: str, kind: EventType, data: dict[str, Any], time: Any
) -> None:
    """Add an event with the job's next sequence number: no gaps, no duplicates."""
    seq = connection.execute(
        update(schema.jobs)
        .where(schema.jobs.c.id == job_id)
        .values(last_event=schema.jobs.c.last_event + 1)
        .returning(schema.jobs.c.last_event)
    ).scalar_one()
    connection.execute(
        insert(schema.events).values(job_id=job_id, seq=seq, time=time, type=kind, data=data)
    )


def to_cursor(key: str) -> str:
    """Encode an item's key as an opaque cursor."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def from_cursor(cursor: str) -> str:
    """Decode a cursor to the item's key. Raises InvalidError if the service cannot have made it."""
    try:
        return base64.b64decode(
            cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        ).decode()
    except (binascii.Error, ValueError):
        raise InvalidError(
            f"after is {cursor!r}: pass the `next` of the previous page, unchanged.",
            code="invalid_cursor",
        ) from None
