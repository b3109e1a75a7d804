"""Files that are either there, whole, or not there at all."""

import os
import secrets
from pathlib import Path

from batchgrad_workers.disk import sync


def new_name() -> str:
    """A name that no other temporary file has."""
    return f"{secrets.token_hex(8)}.tmp"


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
