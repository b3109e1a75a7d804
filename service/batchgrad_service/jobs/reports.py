"""Store and count what engines report; remove old checkpoints when new ones are complete."""

import logging
from pathlib import Path

from batchgrad_engine.checkpoints import job_directory, unstored_messages
from batchgrad_engine.checkpoints.unstored_messages import BadUnstored
from batchgrad_engine.messages import Checkpointed, EngineEvent, Report, Started
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.store import MessageId, Store

CHECKPOINTS_KEPT = 3
THIN_AFTER_EVENTS = 5000

Durable = Report | Checkpointed | EngineEvent
AnyReport = Started | Durable

log = logging.getLogger(__name__)


class Reports:
    """Take engines' reports, from any thread. Reports of stale attempts change nothing."""

    def __init__(self, store: Store, metrics: Metrics, data_dir: Path) -> None:
        self._store = store
        self._metrics = metrics
        self._data_dir = data_dir
        self._thinned: dict[str, int] = {}  # by job, its newest event at the last thinning

    def take(self, job_id: str, attempt: int, message: AnyReport, line: int) -> bool:
        """Store and count one report, line `line` of the engine's stdout. False if it is stale."""
        store, metrics = self._store, self._metrics
        if isinstance(message, Started):
            if current := store.record_started(job_id, attempt, message):
                store.transition(job_id, to="running", allowed={"starting"}, attempt=attempt)
                metrics.begin(store.job(job_id))
            return current
        if current := self._record(job_id, attempt, message, MessageId(attempt, line)):
            match message:
                case Report():
                    metrics.observe(job_id, message)
                case Checkpointed():
                    metrics.checkpointed(job_id)
                    self._thin_events(job_id)
                case EngineEvent():
                    metrics.count_event(message)
        return current

    def take_over(self, job_id: str, attempt: int) -> None:
        """Store the messages that an ended engine left in the job's directory, then remove them.

        Call it while the job has no engine. `attempt` is the job's current one; an earlier one
        may have left the messages.
        """
        folder = self._data_dir / "jobs" / job_id
        try:
            left = unstored_messages.read(folder)
        except BadUnstored as bad:
            log.exception("Job %s", job_id)
            self._store.record_event(
                job_id, attempt, EngineEvent(event="warning", data={"detail": str(bad)})
            )
            left = None
        if left is not None:
            for line, message in left.messages:
                if isinstance(message, Durable):
                    self._record(job_id, attempt, message, MessageId(left.attempt, line))
        known = [kept.checkpoint.step for kept in self._store.checkpoints(job_id)]
        for checkpoint in job_directory.checkpoints_after(folder, max(known, default=-1)):
            self._record(job_id, attempt, checkpoint, None)
        unstored_messages.remove(folder)

    def _record(
        self, job_id: str, attempt: int, message: Durable, message_id: MessageId | None
    ) -> bool:
        match message:
            case Report():
                return self._store.record_report(job_id, attempt, message, message_id)
            case EngineEvent():
                return self._store.record_event(job_id, attempt, message, message_id)
            case Checkpointed():
                current = self._store.record_checkpoint(job_id, attempt, message, message_id)
                if current:
                    self._drop_old_checkpoints(job_id)
                return current

    def _thin_events(self, job_id: str) -> None:
        """Thin the job's events, once every few thousand events: it reads all that are left."""
        newest = self._store.last_event(job_id)
        if newest - self._thinned.setdefault(job_id, 0) >= THIN_AFTER_EVENTS:
            self._thinned[job_id] = newest
            self._store.thin_events(job_id)

    def _drop_old_checkpoints(self, job_id: str) -> None:
        """Keep the newest few checkpoints, which include the last one of a job that succeeds."""
        old = [stored.file for stored in self._store.checkpoints(job_id)[CHECKPOINTS_KEPT:]]
        if not old:
            return
        self._store.drop_checkpoints(job_id, old)
        for file in old:
            (self._data_dir / "jobs" / job_id / file).unlink(missing_ok=True)
