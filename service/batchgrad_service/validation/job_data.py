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
    """A job's dataset, the other one that it validates on, and its code, if its spec names them."""

    validation: StoredData | None = None
    code: Path | None = None

    @property
    def bytes(self) -> int:
        """Size of all their arrays."""
        return self.dataset.bytes + (self.validation.dataset.bytes if self.validation else 0)
