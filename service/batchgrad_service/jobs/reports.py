"""What an engine reports, stored and measured; and old checkpoints removed as new ones come."""

import logging
from pathlib import Path

from batchgrad_engine import unstored
from batchgrad_engine.checkpoints import checkpoints
from batchgrad_engine.messages import Checkpointed, Happened, Report, Started
from batchgrad_engine.unstored import BadUnstored
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.store import Line, Store

CHECKPOINTS_KEPT = 3
THIN_AFTER_EVENTS = 5000

Durable = Report | Checkpointed | Happened
AnyReport = Started | Durable

log = logging.getLogger(__name__)


class Reports:
    """Takes engines' reports, from any thread. A stale attempt's change nothing."""

    def __init__(self, store: Store, metrics: Metrics, data_dir: Path) -> None:
        self._store = store
        self._metrics = metrics
        self._data_dir = data_dir
        self._thinned: dict[str, int] = {}  # by job, the newest event when they were thinned

    def take(self, job_id: str, attempt: int, message: AnyReport, number: int) -> bool:
        """Store and measure one report, line `number` of its engine; False if it is stale."""
        store, metrics = self._store, self._metrics
        if isinstance(message, Started):
            if current := store.record_started(job_id, attempt, message):
                store.transition(job_id, to="running", allowed={"starting"}, attempt=attempt)
                metrics.begin(store.job(job_id))
            return current
        if current := self._record(job_id, attempt, message, Line(attempt, number)):
            match message:
                case Report():
                    metrics.observe(job_id, message)
                case Checkpointed():
                    metrics.checkpointed(job_id)
                    self._thin_events(job_id)
                case Happened():
                    metrics.happened(message)
        return current

    def take_over(self, job_id: str, attempt: int) -> None:
        """Store what an engine left in the job's directory and the service has not; once.

        For a time without an engine. `attempt` is the job's current one, whichever left it.
        """
        folder = self._data_dir / "jobs" / job_id
        try:
            left = unstored.read(folder)
        except BadUnstored as bad:
            log.exception("Job %s", job_id)
            self._store.record_event(
                job_id, attempt, Happened(event="warning", data={"detail": str(bad)})
            )
            left = None
        if left is not None:
            for number, message in left.messages:
                if isinstance(message, Durable):
                    self._record(job_id, attempt, message, Line(left.attempt, number))
        known = [kept.checkpoint.step for kept in self._store.checkpoints(job_id)]
        for checkpoint in checkpoints.newer(folder, max(known, default=-1)):
            self._record(job_id, attempt, checkpoint, None)
        unstored.remove(folder)

    def _record(self, job_id: str, attempt: int, message: Durable, line: Line | None) -> bool:
        match message:
            case Report():
                return self._store.record_report(job_id, attempt, message, line)
            case Happened():
                return self._store.record_event(job_id, attempt, message, line)
            case Checkpointed():
                current = self._store.record_checkpoint(job_id, attempt, message, line)
                if current:
                    self._drop_old_checkpoints(job_id)
                return current

    def _thin_events(self, job_id: str) -> None:
        """Once in some thousand events, since it looks at all that are left."""
        newest = self._store.last_event(job_id)
        if newest - self._thinned.setdefault(job_id, 0) >= THIN_AFTER_EVENTS:
            self._thinned[job_id] = newest
            self._store.thin_events(job_id)

    def _drop_old_checkpoints(self, job_id: str) -> None:
        """Keep the newest few; the last one of a job that succeeds is among them."""
        old = [stored.file for stored in self._store.checkpoints(job_id)[CHECKPOINTS_KEPT:]]
        if not old:
            return
        self._store.drop_checkpoints(job_id, old)
        for file in old:
            (self._data_dir / "jobs" / job_id / file).unlink(missing_ok=True)
