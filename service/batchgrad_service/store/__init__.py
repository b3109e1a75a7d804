"""What the service remembers: jobs, events, steps, checkpoints and datasets, in one database."""

from batchgrad_service.store.database import utc_now
from batchgrad_service.store.records import JobInputs, PutOutcome, StoredCheckpoint
from batchgrad_service.store.store import Store

__all__ = ["JobInputs", "PutOutcome", "Store", "StoredCheckpoint", "utc_now"]
