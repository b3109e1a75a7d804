"""Free space on a disk, and errors that mean that the disk is full."""

import errno
import os
import re
from pathlib import Path

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DISK_FULL_TEXT = re.compile(rf"\(os error (?:{errno.ENOSPC}|{errno.EDQUOT})\)")

_MIN_FREE_INODES = 32
"""A disk with fewer counts as full: an inode that a removed file frees is used again at once."""

REMEDY = "free space there (`batchgrad gc` lists what can be removed), or use a larger disk"


def is_disk_full(error: BaseException) -> bool:
    """True if an error means that a disk has no bytes or inodes left, or a quota is used up.

    For safetensors' exceptions, this is in the text alone.
    """
    if isinstance(error, OSError):
        return error.errno in _DISK_FULL
    return bool(_DISK_FULL_TEXT.search(str(error)))


def disk_full_message(error: BaseException) -> str:
    """The message to a user for an error that `is_disk_full`."""
    return f"A disk of the service is full ({error}): {REMEDY}."


def free_bytes(path: Path) -> int:
    """Bytes that this user may write to the disk of `path`; 0 if it has too few inodes."""
    found = os.statvfs(path)
    # btrfs and others count no inodes
    has_inodes = found.f_files == 0 or found.f_favail >= _MIN_FREE_INODES
    return found.f_bavail * found.f_frsize if has_inodes else 0
