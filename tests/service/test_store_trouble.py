"""A database that is locked, full, damaged or missing."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from batchgrad_service.store import (
    Store,
    StoreBusy,
    StoreRetry,
    StoreUnavailable,
    database,
)
from batchgrad_service.store.unavailable import StoreDamaged
from tests.service.building import body, create, problem, push, report, row, started

FILE = "batchgrad.sqlite3"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MILLISECONDS", 50)
    monkeypatch.setattr(database, "TURN_SECONDS", 0.05)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the database's lock from another connection while the block runs."""
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def fill(store: Store) -> None:
    """Allow no further page in the database file, as on a full disk."""
    with store.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(store._engine, "connect", limit)
    store.close()  # connections that are open know of no limit


def test_a_locked_database_is_reported_after_a_short_wait(http: TestClient, tmp_path: Path) -> None:
    push(http)
    with locked(tmp_path):
        refused = http.post("/v1/jobs", json=body())
        found = problem(refused, 503)
        assert found["code"] == "database_busy"
        assert int(refused.headers["retry-after"]) > 0
        assert http.get("/v1/jobs").status_code == 200  # readers need no lock
    assert http.post("/v1/jobs", json=body()).status_code == 201


def test_space_that_cannot_be_freed_now_is_no_failure(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    create(store)
    with locked(tmp_path):
        store.give_back()
    assert "stays as large as it is" in caplog.text


def test_a_writer_waits_for_its_turn_no_longer_than_for_a_lock(store: Store) -> None:
    with store.writing(), pytest.raises(StoreBusy), store.writing():
        pytest.fail("two wrote at once")
    create(store)


def test_a_full_database_is_507_and_changes_nothing(http: TestClient, store: Store) -> None:
    push(http)
    fill(store)
    found = problem(
        http.post("/v1/jobs", json=body(labels={f"label{n}": "x" * 250 for n in range(16)})), 507
    )
    assert "batchgrad gc" in found["detail"]
    assert http.get("/v1/jobs").json()["data"] == []


def test_a_report_that_finds_the_lock_held_is_stored_when_it_is_free(
    store: Store, tmp_path: Path
) -> None:
    job_id, attempt = started(store)
    retry, stored = StoreRetry(), threading.Event()

    def take() -> None:
        assert retry(lambda: store.record_report(job_id, attempt, report(row(1))))
        stored.set()

    waiting = threading.Thread(target=take)
    with locked(tmp_path):
        waiting.start()
        assert not stored.wait(0.3)
    waiting.join(20)
    assert stored.is_set()
    assert [step.step for step in store.steps(job_id, after=None, limit=10).data] == [1]


def test_retries_end(store: Store, tmp_path: Path) -> None:
    retry = StoreRetry()
    retry.give_up_after(0)
    with locked(tmp_path), pytest.raises(StoreBusy):
        retry(lambda: create(store))


def test_a_damaged_database_is_found(store: Store, tmp_path: Path) -> None:
    for _ in range(50):
        create(store)
    store.check()
    store.close()
    file = tmp_path / FILE
    with file.open("r+b") as opened:
        for page in range(2, file.stat().st_size // 4096):
            opened.seek(4096 * page)
            opened.write(os.urandom(4096))
    with pytest.raises(StoreDamaged, match=r"recover"):
        store.check()
    with pytest.raises(StoreDamaged, match=r"recover"):
        store.jobs()
    assert "batchgrad.sqlite3 is damaged (" in store.damage


@pytest.mark.parametrize("kind", ["text", "folder", "no folder"])
def test_a_file_that_is_not_a_database_is_reported(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "other.sqlite3"
    if kind == "text":
        file.write_text("this is a text, and long enough to be one\n" * 40)
    elif kind == "folder":
        file.mkdir()
    else:
        file = tmp_path / "missing" / FILE
    store = Store(f"sqlite:///{file}")
    with pytest.raises(StoreUnavailable, match=str(file)):
        store.check()
    store.close()
