"""The connection to the database: how transactions begin, and who hears of it when they end."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from pydantic_core import to_json
from sqlalchemy import Connection, Engine, create_engine, event

BUSY_TIMEOUT_MILLISECONDS = 10_000
_MIGRATIONS = Path(__file__).parent / "migrations"


def utc_now() -> datetime:
    """Now, aware and in UTC."""
    return datetime.now(UTC)


def _json(value: Any) -> str:
    return to_json(value, inf_nan_mode="null").decode()  # no database's JSON has NaN


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's BEGIN below decides, not the driver
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}",
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
    and quicker than SQLite's own polling.
    """

    def __init__(self, url: str, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = connect(url)
        self._writer = self._engine.execution_options(writes=True)
        self._write_lock = threading.Lock()
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._listeners_lock = threading.Lock()
        self._clock = clock

    def migrate(self) -> None:
        """Bring the tables to this version's shape; nothing happens when they have it."""
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with self._write_lock, self._engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the database."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self, job_id: str | None = None) -> Iterator[Connection]:
        """One transaction: all of it or nothing; then `job_id`'s listeners are woken."""
        with self._write_lock, self._writer.begin() as connection:
            yield connection
        if job_id is not None:
            with self._listeners_lock:
                wakes = list(self._listeners.get(job_id, ()))
            for wake in wakes:
                wake()

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
