"""Free space on a disk, and the errors that say that there is none."""

import errno
import os
import re
from pathlib import Path

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
