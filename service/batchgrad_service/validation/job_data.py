"""The datasets that a job reads."""

from dataclasses import dataclass
from pathlib import Path

from batchgrad.contract import Dataset


@dataclass(frozen=True)
class StoredData:
    """A dataset and the directory of its content."""

    dataset: Dataset
    directory: Path


@dataclass(frozen=True)
class JobData(StoredData):
    """A job's dataset, and the other one that it validates on, if its spec names one."""

    validation: StoredData | None = None

    @property
    def bytes(self) -> int:
        """Size of all their arrays."""
        return self.dataset.bytes + (self.validation.dataset.bytes if self.validation else 0)
