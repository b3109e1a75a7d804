"""Write files atomically, remove temporary ones, and recognize the names of both."""

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
    """A new, unique name for a temporary file."""
    return f"{secrets.token_hex(8)}.tmp"


def is_temporary(name: str) -> bool:
    """True if `name` has the form of `new_name`'s names."""
    return _TEMPORARY.fullmatch(name) is not None


def is_content(name: str) -> bool:
    """True if `name` has the form of `hex_of`'s names."""
    return _CONTENT.fullmatch(name) is not None


def remove(path: Path) -> None:
    """Remove a file, a directory with its content, or a link without its target."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def remove_temporaries(directory: Path) -> None:
    """Remove files of interrupted writers from `directory`; log those that can't be removed."""
    for entry in directory.iterdir():
        if is_temporary(entry.name):
            try:
                remove(entry)
            except OSError as error:
                log.warning("can't remove %s: %s", entry, error)


def write_atomically(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that no reader sees a part of it; when this returns, it is on the disk.

    `mode` are its permissions, minus the umask's.
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
    """The 64 hex digits of "sha256:…", which name a content's file or directory."""
    return digest.removeprefix("sha256:")
