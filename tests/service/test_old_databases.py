"""The service migrates a database with a row for each step, as before migration 0008."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text

from batchgrad.contract import StepRow
from batchgrad_service import store as store_package
from batchgrad_service.store import Store
from batchgrad_service.store.migrations.step_blocks_v1 import pack, unpack
from tests.service.building import NOW, dataset
from tests.service.test_step_blocks import drawn, near

STEPS = 1300
JSON_COLUMNS = ("norms", "shortcuts", "phases")
COLUMNS = {
    *("step", "epoch", "time", "loss", "weight", "learning_rate", "gradient_norm", "noise_scale"),
    *("gradient_checksum", "workers", *JSON_COLUMNS),
}
MIGRATIONS = Path(store_package.__file__).parent / "migrations"
EXACT_BY_JOB = {"job_a": False, "job_b": True}


def alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def old_row(step: int) -> dict[str, Any]:
    """A step's row with the columns of that version."""
    return {name: value for name, value in drawn(Random(step), step).items() if name in COLUMNS}


def insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    named = ", ".join(f":{name}" for name in row)
    connection.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({named})"), row)  # noqa: S608


def old_database(file: Path) -> None:
    """Write a database at revision 0007 with two jobs, using SQL only."""
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        command.upgrade(alembic(connection), "0007")
        for job_id, exact in EXACT_BY_JOB.items():
            spec = {
                "name": "old",
                "dataset": "digits",
                "model": {"layers": [{"kind": "linear", "out_features": 1}]},
                "loss": "squared_error",
                "optimizer": {"kind": "sgd", "learning_rate": 0.1},
                "batch_size": 4,
                "steps": STEPS,
                "checkpoint_seconds": 30.0,
                "precision": "float64" if exact else "float32",
            }
            job = {
                "id": job_id,
                "name": "old",
                "status": "succeeded",
                "spec": json.dumps(spec),
                "dataset_digest": "sha256:" + "1" * 64,
                "warnings": "[]",
                "attempts": 1,
                "last_event": 0,
                "created_at": "2026-01-01 00:00:00.000000",
                "step": STEPS,
                "steps_planned": STEPS,
                "epoch": 0,
                "gradient_norm": 0.25,
                "shortcuts": "{}",
            }
            insert(connection, "jobs", job)
            for step in range(1, STEPS + 1):
                row = old_row(step)
                texts = {name: json.dumps(row[name]) for name in JSON_COLUMNS}
                time = row["time"].strftime("%Y-%m-%d %H:%M:%S.%f")
                insert(connection, "steps", {"job_id": job_id, **row, **texts, "time": time})
    engine.dispose()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database at revision 0007, which no test changes."""
    file = tmp_path_factory.mktemp("old") / "old.sqlite3"
    old_database(file)
    return file


@pytest.fixture
def old(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(kept, tmp_path))


def test_steps_of_an_old_database_are_read(old: Path) -> None:
    store = Store(f"sqlite:///{old}")
    store.migrate()
    for job_id, exact in EXACT_BY_JOB.items():
        found = store.steps(job_id, after=None, limit=2 * STEPS).data
        assert [row.step for row in found] == list(range(1, STEPS + 1))
        for row in found:
            expected = StepRow.model_validate(old_row(row.step)).model_dump()
            assert near(row.model_dump(), expected, 0 if exact else 2e-7)
            recorded = store.step_checksum(job_id, row.step) if row.step % 400 == 0 else None
            assert recorded in {None, row.gradient_checksum}
        assert store.job(job_id).gradient_norm == 0.25
    with store.reading() as connection:
        due = connection.execute(text("SELECT first, due FROM step_blocks ORDER BY first")).all()
    last = NOW + timedelta(seconds=STEPS, hours=1)
    assert [at is None for first, at in due] == [first <= 1000 for first, at in due]
    assert {str(at)[:19] for _, at in due if at} == {last.strftime("%Y-%m-%d %H:%M:%S")}
    store.close()


@pytest.mark.parametrize("exact", [False, True])
def test_frozen_format_returns_the_rows(exact: bool) -> None:
    rows = [old_row(step) for step in range(1, 200)]
    for found, row in zip(unpack(pack(rows, exact=exact)), rows, strict=True):
        assert near(found, row, 0 if exact else 2e-7)
    odd: list[dict[str, Any]] = [
        {"empty": [], "none": {}, "texts": "é", "big": 2**63},
        {"other": "keys"},
    ]
    for one in (odd, odd[:1], [odd[0]] * 3):
        assert unpack(pack(one, exact=exact)) == one
    with pytest.raises(ValueError, match="expected"):
        unpack(b"\x02")


def test_events_about_the_choice_of_auto_get_their_own_type(old: Path) -> None:
    settled = {"executor": "inline", "workers": 0, "threads": 1, "because": "", "milliseconds": {}}
    engine = create_engine(f"sqlite:///{old}")
    with engine.begin() as connection:
        for seq, data in enumerate(({"steps_planned": STEPS}, settled), start=1):
            event = {"seq": seq, "type": "plan", "data": json.dumps(data)}
            event |= {"job_id": "job_a", "time": "2026-01-01 00:00:00.000000"}
            insert(connection, "events", event)
    engine.dispose()
    store = Store(f"sqlite:///{old}")
    store.migrate()
    found = [(event.type, event.data) for event in store.events("job_a").data]
    assert found == [("plan", {"steps_planned": STEPS}), ("executor", settled)]
    store.close()


def test_jobs_of_an_old_database_are_not_private_and_datasets_get_budgets(old: Path) -> None:
    store = Store(f"sqlite:///{old}")
    store.migrate()
    for job_id in EXACT_BY_JOB:
        assert store.private_job(job_id) is None
        assert store.job(job_id).privacy is None
    assert store.private_jobs_to_run() == set()
    assert store.unsettled_jobs() == []
    assert store.datasets_privacy() == {}
    store.put_dataset(dataset(), replace=False)
    store.set_privacy_budget("digits", 2.0)
    assert store.datasets_privacy()["digits"].budget == 2.0
    with store.writing() as connection:
        command.downgrade(alembic(connection), "0017")
        command.upgrade(alembic(connection), "head")
    assert store.dataset("digits").privacy is None
    store.close()


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        ({"batch_size": 4096}, 128),
        ({"batch_size": 2048}, None),
        ({"batch_size": "full"}, None),
        ({"batch_size": 4096, "microbatch_size": 7}, 7),
        ({"batch_size": 4096, "privacy": {"delta": 1e-5}}, None),
        ({"batch_size": 4096, "model": {"torch": "package:build"}}, None),
    ],
)
def test_jobs_of_an_old_database_keep_their_microbatches(
    old: Path, changes: dict[str, Any], written: int | None
) -> None:
    engine = create_engine(f"sqlite:///{old}")
    with engine.begin() as connection:
        command.upgrade(alembic(connection), "0018")
        spec = json.loads(connection.execute(text("SELECT spec FROM jobs")).scalars().all()[0])
        connection.execute(text("UPDATE jobs SET spec = :s"), {"s": json.dumps(spec | changes)})
        command.upgrade(alembic(connection), "head")
        for found in connection.execute(text("SELECT spec FROM jobs")).scalars().all():
            assert json.loads(found).get("microbatch_size") == written
    engine.dispose()
