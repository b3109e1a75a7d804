"""How much room the service's disks have, and how an error says that there is none."""

import errno
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from batchgrad_service.problems import InsufficientStorage

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_TOLD = re.compile(rf"\(os error (?:{errno.ENOSPC}|{errno.EDQUOT})\)")

_MIN_FREE_INODES = 32
"""With fewer, a disk counts as full: one that a removed file has just left is gone at once."""

REMEDY = "make room there (`batchgrad gc` shows what nobody needs), or give it a larger disk"


def lacks_room(error: BaseException) -> bool:
    """Whether an error says that there is no room: no bytes, no inodes, or a quota is used up.

    safetensors' own exceptions tell it in their text alone.
    """
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return bool(_TOLD.search(str(error)))


def no_room(error: BaseException) -> str:
    """What to say where an error `lacks_room`."""
    return f"A disk of the service is full ({error}): {REMEDY}."


def free_bytes(path: Path) -> int:
    """What this user may still write to the disk that holds `path`; 0 with hardly an inode left."""
    found = os.statvfs(path)
    # btrfs and others count no inodes
    has_inodes = found.f_files == 0 or found.f_favail >= _MIN_FREE_INODES
    return found.f_bavail * found.f_frsize if has_inodes else 0


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
                f"(min_free_bytes): {REMEDY}."
            )
        if found < self.mark_bytes + needed_bytes:
            return (
                f"The disk of {folder} has {_mebibytes(found)} free. This takes "
                f"{_mebibytes(needed_bytes)}, and {_mebibytes(self.mark_bytes)} stay free for the "
                f"jobs that run (min_free_bytes): {REMEDY}."
            )
        return ""

    def require(self, needed_bytes: int = 0) -> None:
        """Raises InsufficientStorage where there is no room for so much more."""
        if shortage := self.shortage(needed_bytes):
            raise InsufficientStorage(shortage)


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"
