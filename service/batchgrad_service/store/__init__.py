"""What the service remembers: jobs, events, steps, checkpoints and datasets, in one database."""

from batchgrad_service.store.database import utc_now
from batchgrad_service.store.patience import Patience, PatientStore
from batchgrad_service.store.records import JobInputs, PutOutcome, StoredCheckpoint
from batchgrad_service.store.reports import MessageId
from batchgrad_service.store.store import Store
from batchgrad_service.store.unavailable import StoreBusy, StoreFull, StoreUnavailable

__all__ = [
    "JobInputs",
    "MessageId",
    "Patience",
    "PatientStore",
    "PutOutcome",
    "Store",
    "StoreBusy",
    "StoreFull",
    "StoreUnavailable",
    "StoredCheckpoint",
    "utc_now",
]
