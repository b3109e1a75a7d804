"""Queries for a job's events, steps and checkpoints."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Column, ColumnElement, Connection, RowMapping, delete, func, select

from batchgrad.contract import Event, EventType, Page, StepRow
from batchgrad_service.problems import NotFoundError
from batchgrad_service.store.database import Database
from batchgrad_service.store.records import (
    StoredCheckpoint,
    checkpoint_of,
    event_of,
    job_row,
)
from batchgrad_service.store.schema import checkpoints, events
from batchgrad_service.store.step_blocks import blocks, curves
from batchgrad_service.store.step_blocks.grid import Buckets, width_of
from batchgrad_service.store.step_blocks.packing import Row as StepDict
from batchgrad_service.store.unavailable import StoreUnavailable


@dataclass(frozen=True)
class JobCurves:
    """The buckets of the steps after `after`, a multiple of their width, up to the last step.

    `first`, if `after` is 0, and `last` are whole rows; of each bucket the last evaluation, and the
    first one.
    """

    after: int
    buckets: Buckets
    first: StepDict | None
    last: StepDict | None
    evaluations: list[dict[str, Any]]


class History(Database):
    """Events, steps and checkpoints; each method raises NotFoundError when there is no such job."""

    def events(self, job_id: str, *, after: int = 0, limit: int = 100) -> Page[Event]:
        """Return events with seq > `after`, oldest first; `next` is the last seq if more follow."""
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
        """Return steps after `after` (None: from the first), in order; `next` as in `events`."""
        after = 0 if after is None else after
        found: list[StepDict] = []
        with self.reading() as connection:
            job_row(connection, job_id)
            for block in blocks.blocks_after(connection, job_id, after):
                rows = blocks.rows_of(connection, job_id, block)
                found += [row for row in rows if row["step"] > after]
                if len(found) > limit:
                    break
        more = len(found) > limit
        data = [StepRow.model_validate(row) for row in found[:limit]]
        return Page[StepRow](data=data, next=str(data[-1].step) if more else None)

    def step_checksum(self, job_id: str, step: int) -> str | None:
        """Return the checksum that a replay of the step must have.

        It is `gradient_checksum`, or its first 16 digits if the step's row was thinned out; None
        if none was recorded. Raises NotFoundError if the job has not done the step.
        """
        with self.reading() as connection:
            done = job_row(connection, job_id)["step"]
            recorded, checksum = blocks.checksum(connection, job_id, step)
        if not recorded:
            raise NotFoundError(
                f"Job {job_id} has no step {step}; steps done: {done}, from 1.",
                code="step_not_found",
            )
        return checksum

    def recorded_seconds(self, job_id: str, *, after: int, upto: int, most: float) -> float:
        """Return the seconds that the steps `after` < step <= `upto` would take in one process.

        The sum of the recorded phases, with `compute` counted for each worker. A row of a thinned
        block counts for all steps that it represents. Stops reading once the sum exceeds `most`.
        """
        seconds = 0.0
        with self.reading() as connection:
            for block in blocks.blocks_after(connection, job_id, after):
                for row in blocks.rows_of(connection, job_id, block):
                    if after < row["step"] <= upto:
                        seconds += block.steps_a_row * _seconds(row)
                if seconds > most or block.last >= upto:
                    break
        return seconds

    def thinned_steps(
        self, job_id: str, max_points: int, *, after: int | None = None
    ) -> list[StepDict]:
        """Return at most `max_points` (2 or more) of the steps after `after`, evenly spaced.

        Each is a dict of a `StepRow`'s fields. Of n rows numbered i from 0 it takes those where
        i·(max_points - 1)/(n - 1) has just passed an integer: exactly `max_points` of them,
        including the first and the last.
        """
        _refuse_less_than_two(max_points)
        after = 0 if after is None else after
        chosen: list[StepDict] = []
        with self.reading() as connection:
            job_row(connection, job_id)
            found = blocks.blocks_after(connection, job_id, after)
            skipped = 0
            if found and found[0].first <= after:
                rows = blocks.rows_of(connection, job_id, found[0])
                skipped = sum(row["step"] <= after for row in rows)
            begins = np.cumsum([-skipped, *(block.kept for block in found)])
            count = int(begins[-1])
            wanted = np.arange(count)
            if count > max_points:
                wanted = wanted[wanted * (max_points - 1) % (count - 1) < max_points - 1]
            for block, begin, end in zip(found, begins, begins[1:], strict=False):
                places = wanted[(wanted >= begin) & (wanted < end)] - begin
                if len(places):
                    chosen += blocks.rows_of(connection, job_id, block, places.tolist())
        return chosen

    def curves(self, job_id: str, *, after: int, buckets: int) -> JobCurves:
        """Return the job's steps in at most `buckets` buckets, from that of step `after` + 1 on."""
        with self.reading() as connection:
            job_row(connection, job_id)
        try:
            while self._extended(job_id):
                pass
        except StoreUnavailable:
            pass  # it takes longer without
        with self.reading() as connection:
            last = curves.last_step(connection, job_id)
            width = width_of(last, buckets)
            begin = min(after, last) // width * width
            return JobCurves(
                after=begin,
                buckets=curves.read(connection, job_id, begin, width),
                first=None if begin else _row(connection, job_id, 0, 0),
                last=_row(connection, job_id, last - 1, -1),
                evaluations=_evaluations(connection, job_id, begin, width),
            )

    def _extended(self, job_id: str) -> bool:
        with self.reading() as connection:
            if not curves.lacking(connection, job_id):
                return False
        with self.writing() as connection:
            curves.extend(connection, job_id)
        return True

    def thinned_events(self, job_id: str, kind: EventType, max_points: int) -> list[Event]:
        """Return at most `max_points` (2 or more) events of one type, as `thinned_steps` does."""
        kept = (events.c.job_id == job_id) & (events.c.type == kind)
        return [event_of(row) for row in self._thinned(job_id, events.c.seq, kept, max_points)]

    def _thinned(
        self, job_id: str, key: Column[int], kept: ColumnElement[bool], max_points: int
    ) -> list[RowMapping]:
        """Return at most `max_points` rows of `key`'s table where `kept` holds, sorted by `key`.

        Of n rows numbered i from 0 it takes those where i·(max_points - 1)/(n - 1) has just
        passed an integer: exactly `max_points` of them.
        """
        _refuse_less_than_two(max_points)
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
        """Return the last `limit` events, the newest first, and the last event's seq.

        `progress` and `evaluation` events, of which there are thousands, are left out.
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
        """Return the kept checkpoints, the newest first."""
        query = (
            select(checkpoints)
            .where(checkpoints.c.job_id == job_id)
            .order_by(checkpoints.c.step.desc())
        )
        with self.reading() as connection:
            job_row(connection, job_id)
            return [checkpoint_of(row) for row in connection.execute(query).mappings()]

    def last_checkpoint_time(self) -> float:
        """Return the time of the newest checkpoint of all jobs, in Unix seconds; 0 for none."""
        with self.reading() as connection:
            newest = connection.execute(select(func.max(checkpoints.c.time))).scalar_one()
        return newest.timestamp() if newest else 0.0

    def drop_checkpoints(self, job_id: str, files: Collection[str]) -> None:
        """Delete the rows of these checkpoints; the caller removes the files."""
        with self.writing() as connection:
            connection.execute(
                delete(checkpoints).where(
                    checkpoints.c.job_id == job_id, checkpoints.c.file.in_(files)
                )
            )


def _row(connection: Connection, job_id: str, after: int, place: int) -> StepDict | None:
    """Return the row at `place` of the first block with steps after `after`; None for none.

    Its figures have all digits that are stored, as those of buckets have.
    """
    for block in blocks.blocks_after(connection, job_id, max(after, 0))[:1]:
        for row in blocks.rows_of(connection, job_id, block, [place], rounded=False):
            return row
    return None


def _evaluations(
    connection: Connection, job_id: str, begin: int, width: int
) -> list[dict[str, Any]]:
    """Return the evaluations after `begin`: the job's first one, and the last of each bucket."""
    step = events.c.data["step"].as_integer()
    of_job = (events.c.job_id == job_id) & (events.c.type == "evaluation")
    of_buckets = (
        select(func.max(events.c.seq)).where(of_job, step > begin).group_by((step - 1) // width)
    )
    chosen = of_buckets.union(select(func.min(events.c.seq)).where(of_job))
    query = (
        select(events.c.data)
        .where(of_job, step > begin, events.c.seq.in_(chosen))
        .order_by(events.c.seq)
    )
    return list(connection.execute(query).scalars())


def _refuse_less_than_two(max_points: int) -> None:
    if max_points < 2:
        raise ValueError(f"max_points is {max_points}: it must be 2 or more.")


def _seconds(row: StepDict) -> float:
    phases: dict[str, float] = row["phases"]
    alone = sum(phases.get(name, 0.0) for name in ("shard", "reduce", "update"))
    return float(phases.get("compute", 0.0) * max(row["workers"], 1) + alone)
