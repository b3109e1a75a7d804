"""Reading what happened to a job: events, steps, checkpoints."""

from collections.abc import Collection

from sqlalchemy import delete, func, select

from batchgrad.contract import Event, Page, StepRow
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

    def thinned_steps(self, job_id: str, max_points: int) -> list[StepRow]:
        """At most `max_points` (2 or more) steps, evenly apart, the first and the last included.

        Of n rows numbered i from 0 it takes those where i·(max_points - 1)/(n - 1) has just
        passed a whole number: exactly `max_points` of them.
        """
        if max_points < 2:
            raise ValueError(f"max_points is {max_points}: it must be 2 or more.")
        with self.reading() as connection:
            job_row(connection, job_id)
            mine = steps.c.job_id == job_id
            count = connection.execute(select(func.count()).where(mine)).scalar_one()
            query = select(steps).where(mine).order_by(steps.c.step)
            if count > max_points:
                index = func.row_number().over(order_by=steps.c.step) - 1
                numbered = select(steps.c.step, index.label("i")).where(mine).subquery()
                gaps = max_points - 1
                kept = select(numbered.c.step).where((numbered.c.i * gaps) % (count - 1) < gaps)
                query = query.where(steps.c.step.in_(kept))
            return [step_of(row) for row in connection.execute(query).mappings()]

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
