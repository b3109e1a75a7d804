"""Files that are either there, whole, or not there at all."""

import os
import secrets
from pathlib import Path

from batchgrad_workers.disk import sync


def new_name() -> str:
    """A name that no other temporary file has."""
    return f"{secrets.token_hex(8)}.tmp"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that no reader and no crash ever sees half of it."""
    temporary = path.with_name(new_name())
    try:
        with temporary.open("xb") as file:
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
