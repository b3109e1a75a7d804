"""Connections and transactions of the database, and listeners to a job's commits."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from pydantic_core import to_json
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from batchgrad.contract import Job
from batchgrad_service.store.unavailable import (
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreUnavailable,
    convert_error,
    damaged,
)

log = logging.getLogger(__name__)

BUSY_TIMEOUT_MILLISECONDS = 2_000
"""How long to wait for another program's lock before the call fails with StoreBusy."""

TURN_SECONDS = 5.0
"""How long a writer waits for its turn: each writer before it may wait for another's lock."""

LOG_BYTES = 4 << 20
"""The size to which SQLite cuts its write-ahead log once its pages are in the database."""

VACUUM_PAGES = 256
"""How many free pages are returned to the file system at a time, while others wait to write."""

_MIGRATIONS = Path(__file__).parent / "migrations"


def utc_now() -> datetime:
    """Return the current time, timezone-aware and in UTC."""
    return datetime.now(UTC)


def _json(value: Any) -> str:
    return to_json(value, inf_nan_mode="null").decode()  # JSON in a database has no NaN


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin by the BEGIN below, not by the driver
    for pragma in (
        "auto_vacuum = INCREMENTAL",  # has no effect on a database with tables
        f"busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}",
        f"journal_size_limit = {LOG_BYTES}",
        "journal_mode = WAL",
        "synchronous = FULL",  # a job is durable before its 201 is sent
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and then writes fails if another one wrote in between;
    # BEGIN IMMEDIATE takes the lock at once, and waits for it if necessary.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def connect(url: str) -> Engine:
    """Return an engine for `url`; a missing SQLite file is created."""
    engine = create_engine(url, json_serializer=_json)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


ReadJob = Callable[[], Job]
"""Makes a Job of what was read; seldom needed, so it is made when somebody asks."""


@dataclass
class Written:
    """What a transaction leaves for `after_commits`: the job as the commit stores it."""

    job: ReadJob | None = None


class Database:
    """Transactions on one database, and listeners that are called after a job's commits.

    Thread-safe. Writers of this process take turns by a lock, which is fairer and faster than
    SQLite's polling. Every method raises StoreUnavailable if the database is busy, full or damaged.
    """

    def __init__(self, url: str, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = connect(url)
        file = self._engine.url.database if self._engine.dialect.name == "sqlite" else None
        self._file = Path(file).absolute() if file else None
        self.damage = ""
        """The damage that was found in the database's file since it was opened; "" for none."""
        self._writer = self._engine.execution_options(writes=True)
        self._write_lock = threading.Lock()
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._of_all_jobs: list[Callable[[str, ReadJob | None], None]] = []
        self._listeners_lock = threading.Lock()
        self._clock = clock

    def migrate(self) -> None:
        """Migrate the tables to this version, if they are of an earlier one."""
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with self._converting_errors(), self._write_lock, self._engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        self._make_shrinkable()

    def _make_shrinkable(self) -> None:
        """Rewrite a SQLite file of an earlier version, once, so that `give_back` works on it."""
        if self._file is None:
            return
        with self._converting_errors(), self._exclusively() as connection:
            if connection.execute("PRAGMA auto_vacuum").fetchone() == (0,):
                try:
                    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                    connection.execute("VACUUM")
                except sqlite3.Error as error:
                    if not isinstance(convert_error(error, self._file), StoreFull):
                        raise
                    log.warning(
                        "Cannot rewrite %s: the disk has less free space than the file's size. "
                        "Deleted rows now free space inside the file only; free that much disk "
                        "space and restart the service.",
                        self._file,
                    )

    def give_back(self) -> None:
        """Return deleted space to the file system, a little at a time; the log's space too.

        While other programs hold the database, space stays in the file until the next call.
        """
        if self._file is None:
            return
        free = -1
        try:
            while free != (free := self._give_some_back()):
                pass
            with self._converting_errors(), self._exclusively() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except StoreUnavailable as error:
            log.warning(
                "%s stays as large as it is for now; its free space is returned at the next try: "
                "%s",
                self._file,
                error,
            )

    def _give_some_back(self) -> int:
        """Return some free pages to the file system; return how many are left."""
        with self._converting_errors(), self._exclusively() as connection:
            connection.execute("PRAGMA synchronous = NORMAL")  # this change may be lost
            try:
                connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
                left: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
            finally:
                connection.execute("PRAGMA synchronous = FULL")
        return left

    @contextmanager
    def _exclusively(self) -> Iterator[sqlite3.Connection]:
        """SQLite's own connection, without a transaction, while no other thread writes."""
        with self._turn(), closing(self._engine.raw_connection()) as connection:
            yield connection.driver_connection  # type: ignore[misc]

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the database."""
        with self._converting_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(
        self, job_id: str | None = None, written: "Written | None" = None
    ) -> Iterator[Connection]:
        """One transaction, all or nothing; after its commit `job_id`'s listeners are called.

        A writer that knows the job as it stores it leaves it in `written`.
        """
        with self._converting_errors(), self._turn():
            with self._writer.begin() as connection:
                yield connection
            if job_id is not None:  # still our turn, so that newer commits are told later
                for told in self._of_all_jobs:
                    told(job_id, written.job if written is not None else None)
        if job_id is not None:
            with self._listeners_lock:
                wakes = list(self._listeners.get(job_id, ()))
            for wake in wakes:
                wake()

    def check(self) -> None:
        """Check every page of a SQLite file.

        Raises:
            StoreDamaged: a page is broken, or the file is not a database.
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
    def _converting_errors(self) -> Iterator[None]:
        """Convert errors of the driver to StoreUnavailable where they mean that."""
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            problem = convert_error(error, self._file)
            if problem is None:
                raise
            if isinstance(problem, StoreDamaged):
                self.damage = problem.detail
            raise problem from error

    def after_commits(self, told: Callable[[str, ReadJob | None], None]) -> None:
        """From now on, call `told` after each commit about a job, in the order of the commits.

        It gets the job's id and, where the writer knows it, the job. It is called before the
        change's caller goes on. It must be fast and must not raise.
        """
        self._of_all_jobs.append(told)

    @contextmanager
    def subscribe(self, job_id: str, wake: Callable[[], None]) -> Iterator[None]:
        """Inside the block, call `wake` from any thread after each commit about the job.

        `wake` must be fast and must not raise. It may be called without a change.
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
