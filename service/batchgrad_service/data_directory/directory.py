"""Lock a data directory, and check that it is a batchgrad service's.

The service writes to a directory only after it has recognised it as its own, and migrates or
removes something only after it has locked it.
"""

import fcntl
import json
import logging
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import IO

from sqlalchemy import make_url

from batchgrad_service.settings import DATABASE
from batchgrad_service.store import Store
from batchgrad_workers.system.files import write_atomically

log = logging.getLogger(__name__)

MARKER = "batchgrad.json"
LOCK = "service.lock"
FOLDERS = ("datasets", "uploads", "parameters")
CONTENTS = ("datasets", "parameters", "code", "jobs", "published")
"""Folders whose entries are named in the database."""

_OTHER_OWN_NAMES = {
    "code",
    "jobs",
    "keys",
    "published",
    "keeper.json",
    "ray_head.log",
    "keeper.log",
    "token",
}
_IGNORED_NAMES = {LOCK, "token", "lost+found"}
"""A directory with only these is empty: an interrupted first start, the operator or a new file
system made them."""
_TABLES = {"jobs", "checkpoints", "datasets", "alembic_version"}
DATABASE_MISMATCH = (
    "The database does not belong to this data directory: the directory's own database was lost, "
    "or database_url names another one. So the service removes no file; `batchgrad gc` lists the "
    "files that the database does not know."
)


class DataDirectoryError(Exception):
    """The data directory cannot be used; the message says why and what to do."""


class DataDirectoryInUseError(DataDirectoryError):
    """Another service uses the data directory."""


class DataDirectory:
    """A service's data directory. Call `lock`, `match` and `unlock`, in this order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.new = False
        """Whether it was missing or empty when it was locked."""
        self._file: IO[str] | None = None

    def lock(self, database_url: str, *, only_new: bool = False) -> None:
        """Lock it, and create it if it is missing. The kernel unlocks it when the process dies.

        `only_new` refuses a directory that is not empty.

        Raises:
            DataDirectoryError: it cannot be used, or it is not a service's; it stays unchanged.
            DataDirectoryInUseError: another service holds the lock.
        """
        try:
            self.new = not self.path.exists() or _names(self.path) <= _IGNORED_NAMES
            if not self.new and only_new:
                raise DataDirectoryError(
                    f"{self.path} is not empty, and this service removes its data directory when "
                    "it stops: name an empty or a new directory (--data-dir)."
                )
            if not self.new:
                self._refuse_foreign(database_url)
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = (self.path / LOCK).open("a+")
        except OSError as error:
            raise DataDirectoryError(
                f"The data directory {self.path} cannot be used ({error}): name a directory that "
                "this user may write to (--data-dir)."
            ) from error
        if not try_lock(file):
            file.close()
            raise DataDirectoryInUseError(
                f"Another batchgrad service uses the data directory {self.path}: "
                "stop that service, or name another directory (--data-dir)."
            )
        self._file = file
        self._restrict_access()
        if self.new:
            self._mark_new()

    def _mark_new(self) -> None:
        """Write the marker first: a first start may end before it has created a database.

        The marker's id matches no database yet; `match` replaces it by the database's id.
        """
        if (self.path / MARKER).exists():  # another service has just created it
            return
        try:
            self._write_marker(secrets.token_hex(16))
        except OSError as error:
            self.unlock()
            raise DataDirectoryError(f"{self.path} cannot be written to: {error}.") from error

    def match(self, store: Store) -> bool:
        """Whether `store` is the directory's database; writes the marker if it is missing.

        Directory and database have the same random id. Another or a new database has another id,
        or none: the service uses it, but removes no file that it does not know.
        """
        marked, known = self._marker_id(), store.directory_id()
        if not self._holds_contents():
            matches = True
        elif marked is None:  # from an earlier version
            matches = bool(store.job_ids() or store.needed_contents())
        else:
            matches = marked == known
        if known is None:
            store.set_directory_id(secrets.token_hex(16))
        if matches:
            self.accept(store)
        elif marked is None:
            self._write_marker(secrets.token_hex(16))  # an id that matches no database
        return matches

    def accept(self, store: Store) -> None:
        """Make `store` the directory's database."""
        known = store.directory_id()
        if known is not None and self._marker_id() != known:
            self._write_marker(known)

    def unlock(self) -> None:
        """Unlock it, if it is locked."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _marker_id(self) -> str | None:
        """The id in the marker; None if there is no marker."""
        try:
            return str(json.loads((self.path / MARKER).read_bytes())["id"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return ""  # a damaged marker matches no database

    def _write_marker(self, directory_id: str) -> None:
        marker = {"about": "data directory of a batchgrad service", "id": directory_id}
        write_atomically(self.path / MARKER, json.dumps(marker).encode() + b"\n")

    def _holds_contents(self) -> bool:
        folders = (self.path / name for name in CONTENTS)
        return any(folder.is_dir() and _names(folder) for folder in folders)

    def _refuse_foreign(self, database_url: str) -> None:
        names = _names(self.path)
        if MARKER in names or _has_own_tables(self.path / DATABASE):
            return
        database = Path(make_url(database_url).database or "")
        if database.parent.absolute() == self.path.absolute() and _has_own_tables(database):
            return
        # An earlier version with its database elsewhere wrote no marker.
        if names >= {LOCK, *FOLDERS} and names <= {LOCK, *FOLDERS} | _OTHER_OWN_NAMES:
            return
        shown = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
        raise DataDirectoryError(
            f"{self.path} is not empty ({shown}), and is not the data directory of a batchgrad "
            f"service: it has neither {MARKER} nor a batchgrad {DATABASE}. Name an empty or a new "
            "directory (--data-dir), or restore the database if this data directory has lost it. "
            "Nothing was changed."
        )

    def _restrict_access(self) -> None:
        """Make a new directory readable by its owner only; warn if others may read an old one."""
        mode = self.path.stat().st_mode & 0o777
        try:
            if mode & 0o077 and self.new:
                self.path.chmod(mode & 0o700)
                return
        except PermissionError:  # for example a volume of root's
            pass
        if mode & 0o077:
            log.warning(
                "Other users of this machine can read the data directory %s (mode %o): "
                "`chmod 700` prevents that.",
                self.path,
                mode,
            )


def try_lock(file: IO[str]) -> bool:
    """Lock the file until it is closed; False if another process holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


def _has_own_tables(database: Path) -> bool:
    """Whether a SQLite file has a service's tables; opens it read-only."""
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as found:
            rows = found.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error:
        return False
    return {name for (name,) in rows} >= _TABLES
