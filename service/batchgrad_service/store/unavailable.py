"""Errors of an unusable database, converted from what its driver raises.

StoreUnavailable
├── StoreBusy     503  another program holds its lock
├── StoreFull     507  its disk has no space
└── StoreDamaged  503  its file is not a database, or has broken pages
"""

import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from batchgrad_service.problems import ProblemError
from batchgrad_workers.system.disk import REMEDY, free_bytes

RETRY_AFTER_SECONDS = 5
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_FILE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}


class StoreUnavailable(ProblemError):
    """The database cannot be read or written now; nothing was changed."""

    status = 503
    default_code = "database_unavailable"


class StoreBusy(StoreUnavailable):
    """Another program holds the database's lock."""

    default_code = "database_busy"

    def __init__(self) -> None:
        super().__init__(
            "Another program holds the database's lock: try again in a few seconds. If it goes on, "
            "look for a backup or a sqlite3 shell that has a transaction open.",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        )


class StoreFull(StoreUnavailable):
    """The database's disk has no space."""

    status = 507
    default_code = "disk_full"


class StoreDamaged(StoreUnavailable):
    """The database's file was changed by another program, or its disk fails."""

    default_code = "database_damaged"


def convert_error(error: DBAPIError | sqlite3.Error, file: Path | None) -> StoreUnavailable | None:
    """Convert a driver's error; None if it does not concern the database as a whole.

    `file` is SQLite's; errors of other databases are not converted.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None or file is None:
        return None
    code &= 0xFF
    if code in _BUSY:
        return StoreBusy()
    if code in _DAMAGED:
        return damaged(file, str(cause))
    out_of_room = code in _FILE and file.parent.is_dir() and free_bytes(file.parent) == 0
    if code == sqlite3.SQLITE_FULL or out_of_room:
        return StoreFull(f"The disk of {file.parent} is full: {REMEDY}.")
    if code in _FILE:
        return StoreUnavailable(
            f"The database {file} cannot be used ({cause}): check that the service's user may read "
            "and write the file and its directory, and that the disk works."
        )
    return None


def damaged(file: Path, found: str) -> StoreDamaged:
    """Return the problem to raise for a damaged file."""
    return StoreDamaged(
        f"The database {file} is damaged ({found}): stop the service, copy the file, and put a "
        f"backup in its place, or what `sqlite3 {file.name} .recover` can read of it."
    )
