"""Own a data directory: refuse one that is somebody else's, lock it, mark it.

Nothing is written into a directory before it is known to be the service's own, and nothing is
migrated or removed before it is locked.
"""

import fcntl
import json
import logging
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from alembic.util import CommandError
from sqlalchemy import make_url

from batchgrad_service.settings import DATABASE, Settings
from batchgrad_service.store import Store, StoreUnavailable
from batchgrad_workers.system.files import write_whole

log = logging.getLogger(__name__)

MARKER = "batchgrad.json"
LOCK = "service.lock"
FOLDERS = ("datasets", "uploads", "parameters")
CONTENTS = ("datasets", "parameters", "jobs", "published")
"""Folders whose entries the database names."""

_OTHERS_OF_OURS = {"jobs", "published", "keeper.json", "keeper.log", "token"}
_IN_AN_EMPTY_ONE = {LOCK, "token", "lost+found"}
"""What a first start that was interrupted, its operator or a new file system has put there."""
_TABLES = {"jobs", "checkpoints", "datasets", "alembic_version"}


OTHER_DATABASE = (
    "The database is not the one that this data directory was used with: it was lost, or another "
    "one is named. Nothing is removed on its word; `batchgrad gc` shows what it does not know."
)


class DataDirectoryError(Exception):
    """The data directory can't be used; the message says why and what to do."""


class DataDirectoryInUseError(DataDirectoryError):
    """Another service works in it."""


@contextmanager
def opened(
    settings: Settings, *, only_new: bool = False
) -> Iterator[tuple["DataDirectory", Store, bool]]:
    """The data directory, locked; its database, migrated; whether they belong together (`mark`).

    Raises:
        DataDirectoryError: it can't be used.
    """
    directory = DataDirectory(settings.data_dir)
    directory.take(settings.url_of_database, only_new=only_new)
    try:
        store = Store(settings.url_of_database)
        try:
            trusted = _use(directory, store)
            yield directory, store, trusted
        finally:
            store.close()
    finally:
        directory.release()


def _use(directory: "DataDirectory", store: Store) -> bool:
    try:
        store.check()
        store.migrate()
        return directory.mark(store)
    except StoreUnavailable as error:
        raise DataDirectoryError(error.detail) from error
    except CommandError as error:
        raise DataDirectoryError(
            f"The database of {directory.path} has tables that this version does not know "
            f"({error}): a newer version made them. Start that version."
        ) from error
    except OSError as error:
        raise DataDirectoryError(f"{directory.path} can't be written to: {error}.") from error


class DataDirectory:
    """One service's data directory. `take`, `mark` and `release`, in this order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.new = False
        """Whether it was missing or empty when it was taken."""
        self._file: IO[str] | None = None

    def take(self, database_url: str, *, only_new: bool = False) -> None:
        """Make it if it is missing, and lock it; the kernel unlocks it when the process dies.

        `only_new` refuses one that is not empty.

        Raises:
            DataDirectoryError: it can't be used, or holds what no service put there; then it is
                left as it was.
            DataDirectoryInUseError: another service holds the lock.
        """
        try:
            self.new = not self.path.exists() or _names(self.path) <= _IN_AN_EMPTY_ONE
            if not self.new and only_new:
                raise DataDirectoryError(
                    f"{self.path} is not empty, and this service would remove it at its end: name "
                    "an empty or a new directory (--data-dir)."
                )
            if not self.new:
                self._refuse_a_strangers(database_url)
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = (self.path / LOCK).open("a+")
        except OSError as error:
            raise DataDirectoryError(
                f"The data directory {self.path} can't be used ({error}): name a directory that "
                "this user may write to (--data-dir)."
            ) from error
        if not try_lock(file):
            file.close()
            raise DataDirectoryInUseError(
                f"Another batchgrad service uses the data directory {self.path}: "
                "stop it, or give this one a directory of its own (--data-dir)."
            )
        self._file = file
        self._close_to_others()
        if self.new:
            self._mark_new()

    def _mark_new(self) -> None:
        """Mark it before anything else is in it: a first start may end before it has a database.

        The id fits no database yet; `mark` gives it the database's.
        """
        if (self.path / MARKER).exists():  # another service has just been here
            return
        try:
            self._write_marker(secrets.token_hex(16))
        except OSError as error:
            self.release()
            raise DataDirectoryError(f"{self.path} can't be written to: {error}.") from error

    def mark(self, store: Store) -> bool:
        """Mark it as a service's; whether `store` is the database that it was used with.

        Directory and database hold the same random id. A lost, new or other database has another
        one, or knows nothing of what is here: it is used, but nothing is removed on its word.
        """
        marked, known = self._marked(), store.directory_id()
        if not self._holds_contents():
            trusted = True
        elif marked is None:  # of an earlier version
            trusted = bool(store.job_ids() or store.needed_contents())
        else:
            trusted = marked == known
        if known is None:
            store.set_directory_id(secrets.token_hex(16))
        if trusted:
            self.accept(store)
        elif marked is None:
            self._write_marker(secrets.token_hex(16))  # which fits no database
        return trusted

    def accept(self, store: Store) -> None:
        """From now on `store` is the directory's database."""
        known = store.directory_id()
        if known is not None and self._marked() != known:
            self._write_marker(known)

    def release(self) -> None:
        """Unlock it; nothing happens if it is not locked."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _marked(self) -> str | None:
        """The id in the marker; None without one."""
        try:
            return str(json.loads((self.path / MARKER).read_bytes())["id"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return ""  # damaged: it fits no database

    def _write_marker(self, directory_id: str) -> None:
        marker = {"about": "a batchgrad service keeps its data here", "id": directory_id}
        write_whole(self.path / MARKER, json.dumps(marker).encode() + b"\n")

    def _holds_contents(self) -> bool:
        folders = (self.path / name for name in CONTENTS)
        return any(folder.is_dir() and _names(folder) for folder in folders)

    def _refuse_a_strangers(self, database_url: str) -> None:
        names = _names(self.path)
        if MARKER in names or _has_our_tables(self.path / DATABASE):
            return
        inside = Path(make_url(database_url).database or "")
        if inside.parent.absolute() == self.path.absolute() and _has_our_tables(inside):
            return
        # Of an earlier version with its database elsewhere.
        if names >= {LOCK, *FOLDERS} and names <= {LOCK, *FOLDERS} | _OTHERS_OF_OURS:
            return
        shown = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
        raise DataDirectoryError(
            f"{self.path} is not empty ({shown}) and is no data directory of this service: it has "
            f"neither {MARKER} nor a service's {DATABASE}. Name an empty or a new directory "
            "(--data-dir), or put the database back if this is a data directory that lost it. "
            "Nothing was changed."
        )

    def _close_to_others(self) -> None:
        """Let nobody else read a new directory, and say where others may read an old one."""
        mode = self.path.stat().st_mode & 0o777
        try:
            if mode & 0o077 and self.new:
                self.path.chmod(mode & 0o700)
                return
        except PermissionError:  # a volume, say, that belongs to root
            pass
        if mode & 0o077:
            log.warning(
                "Other users of this machine may look into the data directory %s (mode %o): "
                "chmod 700 closes it to them.",
                self.path,
                mode,
            )


def try_lock(file: IO[str]) -> bool:
    """Whether the file is locked by us now; it stays so until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


def _has_our_tables(database: Path) -> bool:
    """Whether a SQLite file has a service's tables; it is only read."""
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as found:
            rows = found.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error:
        return False
    return {name for (name,) in rows} >= _TABLES
