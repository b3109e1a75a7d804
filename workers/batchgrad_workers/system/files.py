"""Files that are there whole or not at all, and the names that the service gives to files."""

import logging
import os
import re
import secrets
import shutil
from pathlib import Path

from batchgrad_workers.system.durability import sync

log = logging.getLogger(__name__)

_TEMPORARY = re.compile(r"[0-9a-f]{16}\.tmp")
_CONTENT = re.compile(r"[0-9a-f]{64}")


def new_name() -> str:
    """A name that no other temporary file has."""
    return f"{secrets.token_hex(8)}.tmp"


def is_temporary(name: str) -> bool:
    """Whether `new_name` makes such names."""
    return _TEMPORARY.fullmatch(name) is not None


def is_content(name: str) -> bool:
    """Whether `hex_of` makes such names."""
    return _CONTENT.fullmatch(name) is not None


def remove(path: Path) -> None:
    """Remove a file, a directory with all that is in it, or a link, not what it points to."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def remove_temporaries(directory: Path) -> None:
    """Remove what interrupted writers left in `directory`; what can't be removed stays."""
    for entry in directory.iterdir():
        if is_temporary(entry.name):
            try:
                remove(entry)
            except OSError as error:
                log.warning("%s stays: %s", entry, error)


def write_whole(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that no reader and no crash ever sees half of it.

    `mode` are its permissions, less the umask's.
    """
    temporary = path.with_name(new_name())
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def hex_of(digest: str) -> str:
    """The 64 hex digits of "sha256:…", which are a content's name on the disk."""
    return digest.removeprefix("sha256:")
