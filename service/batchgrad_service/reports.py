"""What an engine reports, stored and measured; and old checkpoints removed as new ones come."""

from pathlib import Path

from batchgrad_service.engine.messages import Checkpointed, Happened, Report, Started
from batchgrad_service.metrics import Metrics
from batchgrad_service.store import Store

CHECKPOINTS_KEPT = 3

AnyReport = Started | Report | Checkpointed | Happened


class Reports:
    """Takes engines' reports, from any thread. A stale attempt's change nothing."""

    def __init__(self, store: Store, metrics: Metrics, data_dir: Path) -> None:
        self._store = store
        self._metrics = metrics
        self._data_dir = data_dir

    def take(self, job_id: str, attempt: int, message: AnyReport) -> bool:
        """Store and measure one report; False if the attempt is stale."""
        store, metrics = self._store, self._metrics
        match message:
            case Started():
                if current := store.record_started(job_id, attempt, message):
                    store.transition(job_id, to="running", allowed={"starting"}, attempt=attempt)
                    metrics.begin(store.job(job_id))
            case Report():
                if current := store.record_report(job_id, attempt, message):
                    metrics.observe(job_id, message)
            case Checkpointed():
                if current := store.record_checkpoint(job_id, attempt, message):
                    metrics.checkpointed(job_id)
                    self._drop_old_checkpoints(job_id)
            case Happened():
                if current := store.record_event(job_id, attempt, message):
                    metrics.happened(message)
        return current

    def _drop_old_checkpoints(self, job_id: str) -> None:
        """Keep the newest few; the last one of a job that succeeds is among them."""
        old = [stored.file for stored in self._store.checkpoints(job_id)[CHECKPOINTS_KEPT:]]
        if not old:
            return
        self._store.drop_checkpoints(job_id, old)
        for file in old:
            (self._data_dir / "jobs" / job_id / file).unlink(missing_ok=True)
