"""Thin old `progress` and `evaluation` events, of which there are thousands, as step rows are."""

from datetime import timedelta

import numpy as np
from sqlalchemy import delete, select

from batchgrad_service.store.database import Database
from batchgrad_service.store.records import job_row
from batchgrad_service.store.schema import events
from batchgrad_service.store.step_blocks.blocks import FIRST_STEPS, UNTHINNED_HOURS

THINNED = ("progress", "evaluation")
FIRST_EVENTS = FIRST_STEPS
DELETED_EVENTS = 500
"""How many events are deleted at a time, while others wait to write."""


class OldEvents(Database):
    """Thinning of `progress` and `evaluation` events after the first ones, older than an hour."""

    def last_event(self, job_id: str) -> int:
        """Return the number of the job's newest event."""
        with self.reading() as connection:
            newest: int = job_row(connection, job_id)["last_event"]
        return newest

    def thin_events(self, job_id: str) -> None:
        """Keep half of the events that are an hour old, a quarter after two hours, and so on.

        An event's number alone decides whether it is kept, so that repeated calls keep the same.
        """
        now = self._clock()
        old = (events.c.job_id == job_id) & (events.c.seq > FIRST_EVENTS)
        newest_first = select(events.c.seq).where(old).order_by(events.c.seq.desc()).limit(1)
        with self.reading() as connection:
            ends: list[int] = []  # of each level, the number of its newest event
            while True:
                before = now - timedelta(hours=UNTHINNED_HOURS) * 2 ** len(ends)
                end = connection.execute(newest_first.where(events.c.time <= before)).scalar()
                if end is None:
                    break
                ends.append(end)
            if not ends:
                return
            query = select(events.c.seq).where(
                old, events.c.seq <= ends[0], events.c.type.in_(THINNED)
            )
            found = np.array(connection.execute(query).scalars().all(), np.int64)
        levels = sum((found <= end).astype(np.int64) for end in ends)
        scattered = found * 2_654_435_761 % 2**32 >> 12  # evaluations may have every 8th number
        gone = found[scattered % 2**levels != 0].tolist()
        for at in range(0, len(gone), DELETED_EVENTS):
            with self.writing() as connection:
                connection.execute(
                    delete(events).where(
                        events.c.job_id == job_id,
                        events.c.seq.in_(gone[at : at + DELETED_EVENTS]),
                    )
                )
