"""The store: all methods on the database, grouped by subject in its base classes."""

from batchgrad_service.store.datasets import DatasetRows
from batchgrad_service.store.directory import DirectoryRows
from batchgrad_service.store.history import History
from batchgrad_service.store.jobs import JobRows
from batchgrad_service.store.old_events import OldEvents
from batchgrad_service.store.privacy import PrivacyRows
from batchgrad_service.store.reports import EngineReports
from batchgrad_service.store.transitions import Transitions


class Store(
    JobRows,
    Transitions,
    EngineReports,
    History,
    OldEvents,
    DatasetRows,
    PrivacyRows,
    DirectoryRows,
):
    """Everything durable except files. Thread-safe; every method is one transaction."""
