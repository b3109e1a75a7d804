"""Data directories are recognised, locked, and never lose files of others."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from batchgrad_service import store
from batchgrad_service.data_directory import leftovers
from batchgrad_service.data_directory.directory import (
    LOCK,
    MARKER,
    DataDirectory,
    DataDirectoryError,
    DataDirectoryInUseError,
)
from batchgrad_service.data_directory.leftovers import Removed
from batchgrad_service.data_directory.storage import open_storage
from batchgrad_service.settings import DATABASE, Settings
from batchgrad_service.store import Store
from tests.service.building import create, dataset

STRANGE = "the-users-own"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def downgrade(database: Path, revision: str) -> None:
    """Give a database the tables of an earlier version."""
    config = Config()
    config.set_main_option("script_location", str(Path(store.__file__).parent / "migrations"))
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    engine.dispose()


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith((DATABASE, LOCK, MARKER))
    }


def fill(data: Path) -> dict[str, str]:
    """Create orphaned files of the service, and files of the user in every folder."""
    made = {
        "content": f"datasets/{'a' * 64}",
        "unfinished": f"datasets/{'b' * 16}.tmp",
        "upload": f"uploads/{'c' * 16}.tmp",
        "uploaded": f"uploads/{'e' * 64}",
        "part": f"uploads/{'f' * 64}.100.part",
        "parameters": f"parameters/{'d' * 64}.safetensors",
        "job": f"jobs/job_{'0' * 16}",
    }
    strange = [f"{folder}/{STRANGE}" for folder in ("datasets", "uploads", "parameters", "jobs")]
    for name in [*made.values(), *strange]:
        (data / name).mkdir(parents=True)
        (data / name / "file").write_bytes(name.encode())
    return made


def test_an_interrupted_first_start_does_not_prevent_the_next(settings: Settings) -> None:
    interrupted = DataDirectory(settings.data_dir)
    interrupted.lock(settings.url_of_database)
    with closing(Store(settings.url_of_database)) as empty:
        empty.check()  # creates an empty file
    interrupted.unlock()
    with open_storage(settings) as (_, store, trusted):
        assert trusted
        create(store)
    with open_storage(settings) as (_, store, trusted):
        assert trusted


@pytest.mark.parametrize("folder", ["datasets", "uploads", "parameters", "jobs", "anything"])
def test_a_foreign_directory_is_refused_and_unchanged(settings: Settings, folder: str) -> None:
    mine = settings.data_dir / folder / "imagenet"
    mine.mkdir(parents=True)
    (mine / "photo").write_bytes(b"once")
    (settings.data_dir / DATABASE).write_text("a text, whatever its name")
    with (
        pytest.raises(DataDirectoryError, match=r"not empty .* \(--data-dir\)"),
        open_storage(settings),
    ):
        pytest.fail("it was opened")
    found = sorted(
        str(path.relative_to(settings.data_dir)) for path in settings.data_dir.rglob("*")
    )
    assert found == sorted([DATABASE, folder, f"{folder}/imagenet", f"{folder}/imagenet/photo"])


def test_a_new_directory_is_marked_and_private(settings: Settings) -> None:
    settings.data_dir.mkdir(mode=0o755)
    (settings.data_dir / "lost+found").mkdir()  # of a new file system
    for _ in range(2):
        with open_storage(settings) as (directory, _store, trusted):
            assert trusted
    assert directory.path.stat().st_mode & 0o777 == 0o700
    assert (settings.data_dir / MARKER).exists()


def test_a_directory_of_an_earlier_version_is_adopted(settings: Settings) -> None:
    with open_storage(settings) as (_, store, _trusted):
        job = create(store, checkpoint_interval_seconds=2.5)
    (settings.data_dir / MARKER).unlink()
    downgrade(settings.data_dir / DATABASE, "0003")
    fill(settings.data_dir)
    with open_storage(settings) as (_, store, trusted):
        assert trusted
        assert store.job(job.id).spec == job.spec  # a key was renamed in between
        assert f'"{store.directory_id()}"' in (settings.data_dir / MARKER).read_text()


def test_an_earlier_version_with_its_database_elsewhere_is_adopted(
    settings: Settings, tmp_path: Path
) -> None:
    elsewhere = settings.model_copy(update={"database_url": f"sqlite:///{tmp_path}/db"})
    for folder in ("datasets", "uploads", "parameters"):
        (settings.data_dir / folder).mkdir(parents=True)
    (settings.data_dir / LOCK).touch()
    with open_storage(elsewhere) as (_, _store, trusted):
        assert trusted


@pytest.mark.parametrize("lost", ["removed", "replaced", "marker damaged"])
def test_a_database_of_another_directory_removes_nothing(
    settings: Settings, tmp_path: Path, lost: str
) -> None:
    with open_storage(settings):
        pass
    fill(settings.data_dir)
    before = files(settings.data_dir)
    if lost == "removed":
        for file in settings.data_dir.glob(f"{DATABASE}*"):
            file.unlink()
    elif lost == "replaced":
        settings = settings.model_copy(update={"database_url": f"sqlite:///{tmp_path}/other"})
    else:
        (settings.data_dir / MARKER).write_text("{")
    for _ in range(2):  # also when the new database has been used once
        with open_storage(settings) as (_, _store, trusted):
            assert not trusted
        found, trusted = leftovers.collect(settings, remove=True, trust_database=False)
        assert found
        assert not trusted
    assert files(settings.data_dir) == before
    leftovers.collect(settings, remove=False, trust_database=True)
    with open_storage(settings) as (_, _store, trusted):
        assert trusted
    assert files(settings.data_dir) == before


def test_a_marked_empty_directory_accepts_a_new_database(settings: Settings) -> None:
    with open_storage(settings):
        pass
    (settings.data_dir / DATABASE).unlink()
    with open_storage(settings) as (_, _store, trusted):
        assert trusted


def names(found: list[Removed], data: Path, *, ours: bool) -> set[str]:
    return {str(r.leftover.path.relative_to(data)) for r in found if r.leftover.ours == ours}


def test_gc_shows_first_and_removes_only_what_it_showed(settings: Settings) -> None:
    data = settings.data_dir
    with open_storage(settings) as (_, store, _trusted):
        store.put_dataset(dataset(digest="sha256:" + "1" * 64), replace=False)
        job = create(store, digest="sha256:" + "2" * 64)
        store.transition(job.id, to="cancelled", allowed=["queued"])
    made = fill(data)
    outside = data.parent / "outside"
    outside.mkdir()
    (outside / "file").touch()
    made["link"] = f"datasets/{'9' * 64}"
    (data / made["link"]).symlink_to(outside)
    known = [f"datasets/{'1' * 64}", f"jobs/{job.id}"]
    for name in known:
        (data / name).mkdir()
        (data / name / "step-0000000001.safetensors").touch()
    torn = f"jobs/{job.id}/step-0000000002.77.tmp"
    (data / torn).touch()
    before = files(data)
    shown, _ = leftovers.collect(settings, remove=False, trust_database=False)
    assert files(data) == before
    assert names(shown, data, ours=True) == {*made.values(), torn}
    assert {Path(name).name for name in names(shown, data, ours=False)} == {STRANGE}
    assert all(one.bytes > 0 for one in shown if one.leftover.path.is_dir())
    leftovers.collect(settings, remove=True, trust_database=False)
    left = {name for name in before if STRANGE in name or name.startswith(tuple(known))} - {torn}
    assert set(files(data)) == left
    assert (outside / "file").exists()
    again, _ = leftovers.collect(settings, remove=True, trust_database=False)
    assert names(again, data, ours=True) == set()


def test_a_directory_in_use_is_not_migrated(settings: Settings) -> None:
    with open_storage(settings):
        _set_version(settings.data_dir / DATABASE, "0003")
        with pytest.raises(DataDirectoryInUseError, match="--data-dir"), open_storage(settings):
            pytest.fail("two services have it")
        with closing(sqlite3.connect(settings.data_dir / DATABASE)) as database:
            [[version]] = database.execute("SELECT version_num FROM alembic_version")
    assert version == "0003"


def test_a_directory_that_is_removed_at_the_end_must_be_new(settings: Settings) -> None:
    with open_storage(settings):
        pass
    with (
        pytest.raises(DataDirectoryError, match="removes its data directory"),
        open_storage(settings, only_new=True),
    ):
        pytest.fail("it was opened")


def test_an_unusable_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(data_dir=tmp_path / "file")
    with (
        pytest.raises(DataDirectoryError, match=re.escape(str(tmp_path / "file"))),
        open_storage(settings),
    ):
        pytest.fail("it was opened")


@pytest.mark.parametrize(
    ("harm", "detail"),
    [
        (lambda file: file.write_text("no database\n" * 100), "is damaged .*recover"),
        (lambda file: (file.unlink(), file.mkdir()), "cannot be used"),
        (lambda file: _set_version(file, "9999"), "newer version"),
    ],
    ids=["text", "folder", "newer"],
)
def test_an_unusable_database_is_reported_at_the_start(
    settings: Settings, harm: Callable[[Path], object], detail: str
) -> None:
    with open_storage(settings):
        pass
    harm(settings.data_dir / DATABASE)
    with pytest.raises(DataDirectoryError, match=detail), open_storage(settings):
        pytest.fail("it was opened")


def _set_version(file: Path, version: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (version,))
