"""The connection to the database: how transactions begin, and who hears of it when they end."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from pydantic_core import to_json
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from batchgrad_service.store.unavailable import (
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreUnavailable,
    damaged,
    understand,
)

log = logging.getLogger(__name__)

BUSY_TIMEOUT_MILLISECONDS = 2_000
"""How long another program's lock is waited for; then who asked is told so."""

TURN_SECONDS = 5.0
"""How long a writer of this process waits for its turn: each before it may wait for the lock."""

LOG_BYTES = 4 << 20
"""What SQLite's write-ahead log may keep once its pages are in the database."""

VACUUM_PAGES = 256
"""Free pages that go back to the file system while others wait to write."""

_MIGRATIONS = Path(__file__).parent / "migrations"


def utc_now() -> datetime:
    """Now, aware and in UTC."""
    return datetime.now(UTC)


def _json(value: Any) -> str:
    return to_json(value, inf_nan_mode="null").decode()  # no database's JSON has NaN


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's BEGIN below decides, not the driver
    for pragma in (
        "auto_vacuum = INCREMENTAL",  # says nothing to a database that has tables already
        f"busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}",
        f"journal_size_limit = {LOG_BYTES}",
        "journal_mode = WAL",
        "synchronous = FULL",  # a job is durable before its 201 is sent
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that starts by reading and then writes would fail when another wrote in
    # between; one that says at once that it will write waits its turn instead.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def connect(url: str) -> Engine:
    """An engine for `url`; a SQLite file is created when missing."""
    engine = create_engine(url, json_serializer=_json)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


class Database:
    """Transactions on one database, and listeners that are woken after a job's commit.

    Safe to share between threads. Writers of this process take turns by a lock, which is fairer
    and quicker than SQLite's own polling. Every method raises StoreUnavailable where the database
    is busy, full or damaged.
    """

    def __init__(self, url: str, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = connect(url)
        file = self._engine.url.database if self._engine.dialect.name == "sqlite" else None
        self._file = Path(file).absolute() if file else None
        self.damage = ""
        """What was found broken in the database's file since it was opened."""
        self._writer = self._engine.execution_options(writes=True)
        self._write_lock = threading.Lock()
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._listeners_lock = threading.Lock()
        self._clock = clock

    def migrate(self) -> None:
        """Bring the tables to this version's shape; nothing happens when they have it."""
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with self._understood(), self._write_lock, self._engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        self._make_shrinkable()

    def _make_shrinkable(self) -> None:
        """Rewrite, once, a SQLite file of an earlier version, so that `give_back` can work."""
        if self._file is None:
            return
        with self._understood(), self._alone() as connection:
            if connection.execute("PRAGMA auto_vacuum").fetchone() == (0,):
                try:
                    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                    connection.execute("VACUUM")
                except sqlite3.Error as error:
                    if not isinstance(understand(error, self._file), StoreFull):
                        raise
                    log.warning(
                        "No room to rewrite %s: what is deleted is used again, but not given back "
                        "to the disk, until a start finds as much free space as the file takes.",
                        self._file,
                    )

    def give_back(self) -> None:
        """Give what was deleted back to the file system, a little at a time; the log too.

        What can't be given back now, since others hold the database, is so the next time.
        """
        if self._file is None:
            return
        free = -1
        try:
            while free != (free := self._give_some_back()):
                pass
            with self._understood(), self._alone() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except StoreUnavailable as error:
            log.warning("What was deleted keeps its room in %s for now: %s", self._file, error)

    def _give_some_back(self) -> int:
        """How many pages are free still."""
        with self._understood(), self._alone() as connection:
            connection.execute("PRAGMA synchronous = NORMAL")  # nothing is lost if this is
            try:
                connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
                left: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
            finally:
                connection.execute("PRAGMA synchronous = FULL")
        return left

    @contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        """SQLite's own connection, without a transaction, while no other writes."""
        with self._turn(), closing(self._engine.raw_connection()) as connection:
            yield connection.driver_connection  # type: ignore[misc]

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the database."""
        with self._understood(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self, job_id: str | None = None) -> Iterator[Connection]:
        """One transaction: all of it or nothing; then `job_id`'s listeners are woken."""
        with self._understood(), self._turn(), self._writer.begin() as connection:
            yield connection
        if job_id is not None:
            with self._listeners_lock:
                wakes = list(self._listeners.get(job_id, ()))
            for wake in wakes:
                wake()

    def check(self) -> None:
        """Look at every page of a SQLite file.

        Raises:
            StoreDamaged: one of them is broken, or the file is no database.
        """
        if self._file is not None:
            with self.reading() as connection:
                found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
            if found != "ok":
                raise damaged(self._file, str(found))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._write_lock.acquire(timeout=TURN_SECONDS):
            raise StoreBusy
        try:
            yield
        finally:
            self._write_lock.release()

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Raise StoreUnavailable for errors of the driver that mean it."""
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            problem = understand(error, self._file)
            if problem is None:
                raise
            if isinstance(problem, StoreDamaged):
                self.damage = problem.detail
            raise problem from error

    @contextmanager
    def subscribe(self, job_id: str, wake: Callable[[], None]) -> Iterator[None]:
        """Inside the block `wake` is called, from any thread, after each commit about the job.

        `wake` must be quick and must not raise; it may come once too often, never too rarely.
        """
        with self._listeners_lock:
            self._listeners.setdefault(job_id, []).append(wake)
        try:
            yield
        finally:
            with self._listeners_lock:
                remaining = self._listeners[job_id]
                remaining.remove(wake)
                if not remaining:
                    del self._listeners[job_id]
