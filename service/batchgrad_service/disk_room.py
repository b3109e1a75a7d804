"""The free space that the service keeps: below a mark, jobs pause and submissions are refused."""

from collections.abc import Callable, Sequence
from pathlib import Path

from batchgrad_service.problems import InsufficientStorageError
from batchgrad_workers.system.disk import REMEDY, free_bytes


class DiskRoom:
    """The free room where the service writes, and the mark below which jobs are set aside.

    Once below, it counts as low until there is a quarter more than the mark, so that jobs do not
    come and go with every file.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        mark_bytes: int,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self.mark_bytes = mark_bytes
        self._folders = folders
        self._free = free
        self._low = False

    def free_bytes(self) -> int:
        """The least that one of the disks has."""
        return min(self._free(folder) for folder in self._folders)

    def shortage(self, needed_bytes: int = 0) -> str:
        """What lacks room, and what to do; "" where there is enough, `needed_bytes` included."""
        folder = min(self._folders, key=self._free)
        found = self._free(folder)
        self._low = found < self.mark_bytes * (1.25 if self._low else 1)
        if self._low:
            return (
                f"The disk of {folder} has less than {_mebibytes(self.mark_bytes)} free "
                f"(min_free_disk_bytes): {REMEDY}."
            )
        if found < self.mark_bytes + needed_bytes:
            return (
                f"The disk of {folder} has {_mebibytes(found)} free. This takes "
                f"{_mebibytes(needed_bytes)}, and {_mebibytes(self.mark_bytes)} stay free for the "
                f"jobs that run (min_free_disk_bytes): {REMEDY}."
            )
        return ""

    def require(self, needed_bytes: int = 0) -> None:
        """Raises InsufficientStorageError where there is no room for so much more."""
        if shortage := self.shortage(needed_bytes):
            raise InsufficientStorageError(shortage)


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"
