"""The database of the service: jobs, events, steps, checkpoints and datasets."""

from batchgrad_service.store.database import utc_now
from batchgrad_service.store.privacy import PrivateJob
from batchgrad_service.store.records import JobInputs, PutOutcome, StoredCheckpoint
from batchgrad_service.store.reports import MessageId
from batchgrad_service.store.retries import RetryingStore, StoreRetry
from batchgrad_service.store.store import Store
from batchgrad_service.store.unavailable import StoreBusy, StoreFull, StoreUnavailable

__all__ = [
    "JobInputs",
    "MessageId",
    "PrivateJob",
    "PutOutcome",
    "RetryingStore",
    "Store",
    "StoreBusy",
    "StoreFull",
    "StoreRetry",
    "StoreUnavailable",
    "StoredCheckpoint",
    "utc_now",
]
