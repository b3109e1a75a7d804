"""Reading what happened to a job: events, steps, checkpoints."""

from collections.abc import Collection

from sqlalchemy import Column, ColumnElement, RowMapping, delete, func, select

from batchgrad.contract import Event, EventType, Page, StepRow
from batchgrad_service.problems import NotFound
from batchgrad_service.store.database import Database
from batchgrad_service.store.records import (
    StoredCheckpoint,
    checkpoint_of,
    event_of,
    job_row,
    step_of,
)
from batchgrad_service.store.schema import checkpoints, events, steps


class History(Database):
    """Events, steps and checkpoints; each method raises NotFound when there is no such job."""

    def events(self, job_id: str, *, after: int = 0, limit: int = 100) -> Page[Event]:
        """Events with seq > `after`, oldest first; `next` is the last seq, if there are more."""
        query = (
            select(events)
            .where(events.c.job_id == job_id, events.c.seq > after)
            .order_by(events.c.seq)
            .limit(limit + 1)
        )
        with self.reading() as connection:
            job_row(connection, job_id)
            found = [event_of(row) for row in connection.execute(query).mappings()]
        more = len(found) > limit
        return Page[Event](data=found[:limit], next=str(found[limit - 1].seq) if more else None)

    def steps(self, job_id: str, *, after: int | None, limit: int) -> Page[StepRow]:
        """Steps beyond `after` (None: from the first), in order; `next` as in `events`."""
        query = select(steps).where(steps.c.job_id == job_id).order_by(steps.c.step)
        if after is not None:
            query = query.where(steps.c.step > after)
        with self.reading() as connection:
            job_row(connection, job_id)
            rows = connection.execute(query.limit(limit + 1)).mappings()
            found = [step_of(row) for row in rows]
        more = len(found) > limit
        return Page[StepRow](data=found[:limit], next=str(found[limit - 1].step) if more else None)

    def step(self, job_id: str, step: int) -> StepRow:
        """One step; NotFound when the job has not done it."""
        query = select(steps).where(steps.c.job_id == job_id, steps.c.step == step)
        with self.reading() as connection:
            done = job_row(connection, job_id)["step"]
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound(
                f"Job {job_id} has no step {step}: it has done {done}, counted from 1.",
                code="step_not_found",
            )
        return step_of(row)

    def recorded_seconds(self, job_id: str, *, after: int, upto: int, most: float) -> float:
        """What the steps after `after`, up to `upto`, would take one process, by their phases.

        Workers' seconds are counted for each of them. Looks no further once it is over `most`.
        """
        query = (
            select(steps.c.phases, steps.c.workers)
            .where(steps.c.job_id == job_id, steps.c.step > after, steps.c.step <= upto)
            .order_by(steps.c.step)
        )
        seconds = 0.0
        with self.reading() as connection:
            for phases, workers in connection.execute(query).yield_per(1000):
                seconds += phases.get("compute", 0.0) * max(workers, 1)
                seconds += sum(phases.get(name, 0.0) for name in ("shard", "reduce", "update"))
                if seconds > most:
                    break
        return seconds

    def thinned_steps(
        self, job_id: str, max_points: int, *, after: int | None = None
    ) -> list[StepRow]:
        """At most `max_points` (2 or more) of the steps beyond `after`, evenly apart.

        The first and the last are among them.
        """
        kept = steps.c.job_id == job_id
        if after is not None:
            kept &= steps.c.step > after
        return [step_of(row) for row in self._thinned(job_id, steps.c.step, kept, max_points)]

    def thinned_events(self, job_id: str, kind: EventType, max_points: int) -> list[Event]:
        """At most `max_points` (2 or more) events of one type, as in `thinned_steps`."""
        kept = (events.c.job_id == job_id) & (events.c.type == kind)
        return [event_of(row) for row in self._thinned(job_id, events.c.seq, kept, max_points)]

    def _thinned(
        self, job_id: str, key: Column[int], kept: ColumnElement[bool], max_points: int
    ) -> list[RowMapping]:
        """Rows of `key`'s table for which `kept` holds, in the key's order, at most `max_points`.

        Of n rows numbered i from 0 it takes those where i·(max_points - 1)/(n - 1) has just
        passed a whole number: exactly `max_points` of them.
        """
        if max_points < 2:
            raise ValueError(f"max_points is {max_points}: it must be 2 or more.")
        with self.reading() as connection:
            job_row(connection, job_id)
            count = connection.execute(
                select(func.count()).select_from(key.table).where(kept)
            ).scalar_one()
            query = select(key.table).where(kept).order_by(key)
            if count > max_points:
                index = func.row_number().over(order_by=key) - 1
                numbered = select(key, index.label("i")).where(kept).subquery()
                gaps = max_points - 1
                chosen = select(numbered.c[key.name]).where(
                    (numbered.c.i * gaps) % (count - 1) < gaps
                )
                query = query.where(key.in_(chosen))
            return list(connection.execute(query).mappings())

    def newest_events(self, job_id: str, limit: int) -> tuple[list[Event], int]:
        """The last `limit` events, the newest first, and the last event's seq.

        `progress` and `evaluation` are left out, of which there are thousands.
        """
        query = (
            select(events)
            .where(events.c.job_id == job_id, events.c.type.not_in(["progress", "evaluation"]))
            .order_by(events.c.seq.desc())
            .limit(limit)
        )
        with self.reading() as connection:
            last: int = job_row(connection, job_id)["last_event"]
            return [event_of(row) for row in connection.execute(query).mappings()], last

    def checkpoints(self, job_id: str) -> list[StoredCheckpoint]:
        """The checkpoints that are kept, the newest first."""
        query = (
            select(checkpoints)
            .where(checkpoints.c.job_id == job_id)
            .order_by(checkpoints.c.step.desc())
        )
        with self.reading() as connection:
            job_row(connection, job_id)
            return [checkpoint_of(row) for row in connection.execute(query).mappings()]

    def last_checkpoint_time(self) -> float:
        """When any job's newest checkpoint was completed, in Unix seconds; 0 if there is none."""
        with self.reading() as connection:
            newest = connection.execute(select(func.max(checkpoints.c.time))).scalar_one()
        return newest.timestamp() if newest else 0.0

    def drop_checkpoints(self, job_id: str, files: Collection[str]) -> None:
        """Forget these checkpoints; removing the files is the caller's."""
        with self.writing() as connection:
            connection.execute(
                delete(checkpoints).where(
                    checkpoints.c.job_id == job_id, checkpoints.c.file.in_(files)
                )
            )
