"""Keep a minimum of free disk space: below it jobs pause and submissions are refused."""

from collections.abc import Callable, Sequence
from pathlib import Path

from batchgrad_service.problems import InsufficientStorageError
from batchgrad_workers.system.disk import REMEDY, free_bytes


class DiskSpace:
    """Free space of the disks that the service writes to, and the minimum that stays free.

    Once below the minimum, a disk counts as full until it has a quarter more than the minimum, so
    that jobs do not stop and start with every file.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        min_free_bytes: int,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self.min_free_bytes = min_free_bytes
        self._folders = folders
        self._free = free
        self._full = False

    def free_bytes(self) -> int:
        """Free space of the fullest disk."""
        return min(self._free(folder) for folder in self._folders)

    def shortage(self, needed_bytes: int = 0) -> str:
        """Which disk lacks space and what to do; "" if `needed_bytes` more fit on all of them."""
        folder = min(self._folders, key=self._free)
        found = self._free(folder)
        self._full = found < self.min_free_bytes * (1.25 if self._full else 1)
        if self._full:
            return (
                f"The disk of {folder} is full: less than {_mebibytes(self.min_free_bytes)} was "
                "free (min_free_disk_bytes). The service continues when "
                f"{_mebibytes(1.25 * self.min_free_bytes)} are free: {REMEDY}."
            )
        if found < self.min_free_bytes + needed_bytes:
            return (
                f"The disk of {folder} has {_mebibytes(found)} free. This request needs "
                f"{_mebibytes(needed_bytes)}, and {_mebibytes(self.min_free_bytes)} must stay free "
                f"for running jobs (min_free_disk_bytes): {REMEDY}."
            )
        return ""

    def require(self, needed_bytes: int = 0) -> None:
        """Raise InsufficientStorageError unless `needed_bytes` more fit on every disk."""
        if shortage := self.shortage(needed_bytes):
            raise InsufficientStorageError(shortage)


def _mebibytes(size_bytes: float) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"
