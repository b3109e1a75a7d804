"""Step rows in packed blocks: numbers lose their last digits only, and old rows are thinned."""

import math
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from batchgrad.contract import StepRow
from batchgrad_engine.step_columns import columns_of, joined
from batchgrad_service.problems import NotFoundError
from batchgrad_service.store import Store
from batchgrad_service.store.schema import jobs, step_blocks
from batchgrad_service.store.step_blocks import blocks
from batchgrad_service.store.step_blocks.columns import BadBlock
from batchgrad_service.store.step_blocks.joining import join
from batchgrad_service.store.step_blocks.packing import pack, pack_columns, unpack
from tests.service.building import NOW, create, report, started
from tests.service.test_data_directory import downgrade

EXTREMES = [0.0, -1.5, 1e-300, 1e300, 3.4e38, 1e-45, 5e-324, 123456.789, 1 / 3]


def drawn(random: Random, step: int) -> dict[str, Any]:
    """A row as an engine reports it, with random values."""

    def figure() -> float | None:
        return None if random.random() < 0.1 else random.gauss(0, 1) * 10 ** random.randint(-6, 6)

    layers = [
        {"name": name, "relative_error": figure(), "covariance_norm": 0.5, "propagation_norm": 0.0}
        for name in ("0", "2")
    ]
    shortcut = {
        "relative_error": figure(),
        "cosine_similarity": figure(),
        "norm_ratio": random.choice(EXTREMES),
        "layers": random.choice([layers, None]) if step % 7 == 0 else layers,
    }
    made = {
        "step": step,
        "epoch": step // 10,
        "time": NOW + timedelta(seconds=step, microseconds=random.randint(0, 999)),
        "loss": None if step % 11 == 0 else random.random(),
        "weight": 64.0,
        "learning_rate": 0.1,
        "gradient_norm": random.random(),
        "noise_scale": None,
        "gradient_checksum": None if step % 13 == 0 else random.randbytes(16).hex(),
        "norms": {
            "quantiles": {"0.5": random.random(), "max": 3.0},
            "histogram": [random.randint(0, 9) for _ in range(5)],
            "largest": [{"example": random.randint(0, 2**40), "norm": random.random()}],
        },
        "shortcuts": {} if step % 17 == 0 else {"averaged_error": shortcut},
        "phases": {"compute": random.random() / 1e4},
        "workers": step // 50,
    }
    return StepRow.model_validate(made).model_dump()


def near(found: Any, expected: Any, relative: float) -> bool:
    """Whether two rows are equal up to the last digits of numbers below the top level."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            near(found[key], expected[key], relative) for key in expected
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(
            near(a, b, relative) for a, b in zip(found, expected, strict=True)
        )
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(found, expected, rel_tol=relative)
    return bool(found == expected)


@pytest.mark.parametrize("count", [1, 2, 300])
def test_rows_are_read_back(count: int) -> None:
    rows = [drawn(Random(step), step) for step in range(5, 5 + count)]
    assert unpack(pack(rows, exact=True)) == rows
    found = unpack(pack(rows))
    for name in ("step", "epoch", "time", "loss", "gradient_norm", "gradient_checksum", "workers"):
        assert [each[name] for each in found] == [each[name] for each in rows], name
    assert all(near(a, b, 2e-7) for a, b in zip(found, rows, strict=True))
    assert unpack(pack(rows), slice(0, None, 7)) == found[::7]
    stored = unpack(pack(rows), rounded=False)
    assert unpack(pack(stored), rounded=False) == stored


def test_joined_blocks_have_the_rows_of_all() -> None:
    for seed in range(8):
        random = Random(seed)
        cuts = sorted({0, 60, *(random.randint(1, 60) for _ in range(4))})
        rows = [drawn(Random(step), step) for step in range(60)]
        exact = seed % 2 == 0
        found = unpack(join([pack(rows[a:b], exact=exact) for a, b in pairwise(cuts)]))
        assert all(near(a, b, 0 if exact else 2e-7) for a, b in zip(found, rows, strict=True))


@pytest.mark.parametrize("exact", [False, True])
def test_columns_are_packed_like_their_rows(*, exact: bool) -> None:
    rows = [drawn(Random(step), step) for step in range(1, 7)]
    equal = [rows[0] | {"step": step} for step in range(1, 7)]  # their times, too
    for some in (rows, rows[:1], equal):
        [columns] = joined(columns_of(some))
        assert pack_columns(columns, exact=exact) == pack(some, exact=exact)
        if some is equal:
            alone = columns | {"time": columns["time"][0]}
            assert pack_columns(alone, exact=exact) == pack(some, exact=exact)


@pytest.mark.parametrize("first", [1, blocks.FIRST_STEPS - 20, 5000])
def test_columns_are_cut_into_blocks_like_their_rows(store: Store, first: int) -> None:
    """The first steps stay apart, and no block has more than MOST_ROWS rows."""
    row = drawn(Random(1), 1)
    rows = [row | {"step": step} for step in range(first, first + blocks.MOST_ROWS + 50)]
    found = []
    for store_rows in (put, put_columns):
        job_id = create(store).id
        with store.writing() as connection:
            store_rows(connection, job_id, rows)
            found.append(blocks.blocks_after(connection, job_id, 0))
    assert found[0] == found[1]
    assert len(found[0]) == 2 + (first == blocks.FIRST_STEPS - 20)


def test_bytes_that_are_not_a_block_are_refused() -> None:
    block = pack([drawn(Random(1), step) for step in range(1, 9)])
    for bad in (b"", b"\x02" + block[1:], block[:40], block[:-9]):
        with pytest.raises(BadBlock):
            unpack(bad)


def put(connection: Connection, job_id: str, rows: list[dict[str, Any]]) -> None:
    blocks.put(connection, job_id, rows, exact=True)


def put_columns(connection: Connection, job_id: str, rows: list[dict[str, Any]]) -> None:
    blocks.put_columns(connection, job_id, joined(columns_of(rows)), exact=True)


@pytest.mark.parametrize("store_rows", [put, put_columns])
def test_replacing_any_rows_keeps_the_others(store: Store, store_rows: Callable[..., None]) -> None:
    random = Random(4)
    job_id = create(store).id
    expected: dict[int, StepRow] = {}
    for time in range(60):
        first = random.randint(1, 120) if expected else 1
        first = min(first, max(expected, default=0) + 1)
        rows = [drawn(Random(time), step) for step in range(first, first + random.randint(1, 40))]
        with store.writing() as connection:
            store_rows(connection, job_id, rows)
        expected |= {each["step"]: StepRow.model_validate(each) for each in rows}
    found = store.steps(job_id, after=None, limit=1000).data
    assert found == [expected[step] for step in sorted(expected)]


def test_rows_of_a_version_without_a_figure_are_joined_with_newer_ones(store: Store) -> None:
    job_id = create(store).id
    rows = [drawn(Random(step), step) | {"noise_scale": 1.5} for step in range(1, 41)]
    older = [{key: row[key] for key in row if key != "noise_scale"} for row in rows[:20]]
    with store.writing() as connection:
        for block in (older, rows[20:]):
            blocks.put(connection, job_id, block, exact=False)
    with store.reading() as connection:
        assert len(blocks.blocks_after(connection, job_id, 0)) == 1
    found = store.thinned_steps(job_id, 100)
    assert [row["noise_scale"] for row in found] == [None] * 20 + [1.5] * 20
    assert [row["time"] for row in found] == [row["time"] for row in rows]


@pytest.mark.parametrize("a_report", [1, 50])
def test_reports_of_any_size_make_few_blocks(store: Store, a_report: int) -> None:
    job_id = create(store).id
    with store.writing() as connection:
        for first in range(1, 201, a_report):
            rows = [drawn(Random(step), step) for step in range(first, first + a_report)]
            blocks.put(connection, job_id, rows, exact=False)
    with store.reading() as connection:
        assert len(blocks.blocks_after(connection, job_id, 0)) < 9
    found = store.steps(job_id, after=190, limit=100).data
    assert [each.step for each in found] == list(range(191, 201))


SECONDS = 15
HOURS = 20
LAST = 3600 // SECONDS * HOURS


def checksum_of(step: int) -> str:
    return f"{step:032x}"[::-1]


@pytest.fixture(scope="module")
def long_database(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A database with a job of many hours, four steps a minute; and the job's id."""
    file = Path(shutil.copy(migrated, tmp_path_factory.mktemp("long")))
    store = Store(f"sqlite:///{file}")
    job_id, attempt = started(store)
    some = [drawn(Random(step), step) for step in range(1, 61)]
    for before in range(0, LAST, 60):
        rows = [
            each
            | {
                "step": (step := before + each["step"]),
                "time": NOW + timedelta(seconds=SECONDS * step),
                "gradient_checksum": checksum_of(step),
                "phases": {"compute": 0.001, "update": 0.001},
                "workers": 1,
            }
            for each in some
        ]
        made = [StepRow.model_validate(each) for each in rows]
        assert store.record_report(job_id, attempt, report(*made))
    store.close()
    return file, job_id


@pytest.fixture
def long_store(long_database: tuple[Path, str], tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{shutil.copy(long_database[0], tmp_path)}")
    yield opened
    opened.close()


@pytest.fixture
def long_job(long_database: tuple[Path, str]) -> str:
    return long_database[1]


def test_old_rows_are_thinned_to_representative_rows(long_store: Store, long_job: str) -> None:
    kept = {each["step"] for each in long_store.thinned_steps(long_job, 100_000)}
    for step in range(1, LAST + 1):
        hours = (LAST - step) * SECONDS / 3600
        level = 0 if hours < 1 or step <= 1000 else int(math.log2(hours)) + 1
        if step % 2**level == 0:
            assert step in kept, step
        elif hours > 1.3 * 2 ** (level - 1):  # thinned soon after it is that old
            assert step not in kept, step
    points = [each["step"] for each in long_store.thinned_steps(long_job, 50, after=1200)]
    assert (len(points), points[-1], min(points) > 1200) == (50, LAST, True)
    seconds = long_store.recorded_seconds(long_job, after=0, upto=LAST, most=1e9)
    assert seconds == pytest.approx(0.002 * LAST, rel=0.01)


def test_every_step_s_checksum_stays_in_less_than_a_hundred_bytes(
    long_store: Store, long_job: str
) -> None:
    for step in range(1, LAST + 1, 97):
        checksum = long_store.step_checksum(long_job, step)
        assert checksum is not None
        assert checksum_of(step).startswith(checksum)
        assert len(checksum) in {16, 32}
    with pytest.raises(NotFoundError):
        long_store.step_checksum(long_job, LAST + 1)
    query = select(step_blocks.c.data, step_blocks.c.checksums).where(
        step_blocks.c.job_id == long_job, step_blocks.c.first > 1000
    )
    with long_store.reading() as connection:
        found = connection.execute(query).all()
    stored = sum(len(data) + len(checksums or b"") for data, checksums in found)
    assert 8 * 0.9 * (LAST - 1000) < stored < 60 * (LAST - 1000)


def test_a_float64_job_keeps_every_digit(store: Store) -> None:
    job_id, attempt = started(store, precision="float64")
    rows = [StepRow.model_validate(drawn(Random(step), step)) for step in range(1, 30)]
    store.record_report(job_id, attempt, report(*rows))
    assert store.steps(job_id, after=None, limit=100).data == rows


def test_deleting_a_job_frees_its_space(store: Store, tmp_path: Path) -> None:
    def stored_bytes() -> int:
        return sum(path.stat().st_size for path in tmp_path.glob("batchgrad.sqlite3*"))

    job_id, attempt = started(store)
    before = stored_bytes()
    for first in range(1, 4001, 500):
        rows = [drawn(Random(step), step) for step in range(first, first + 500)]
        store.record_report(job_id, attempt, report(*map(StepRow.model_validate, rows)))
    assert stored_bytes() > before + 500_000
    store.transition(job_id, to="succeeded")
    store.delete_job(job_id)
    store.give_back()
    assert stored_bytes() < before + 100_000


def test_a_downgraded_database_is_migrated_again(tmp_path: Path) -> None:
    database = tmp_path / "old.sqlite3"
    store = Store(f"sqlite:///{database}")
    store.migrate()
    rows = [StepRow.model_validate(drawn(Random(step), step)) for step in range(1, 1300)]
    ids = []
    for changes in ({}, {"precision": "float64"}):
        job_id, attempt = started(store, **changes)
        store.record_report(job_id, attempt, report(*rows))
        ids.append(job_id)
    before = [list(store.thinned_steps(job_id, 10_000)) for job_id in ids]
    jobs_before = [store.job(job_id) for job_id in ids]
    assert jobs_before[0].gradient_norm == rows[-1].gradient_norm
    with store.writing() as connection:
        connection.execute(update(jobs).values(recorded_step=0))
    store.close()
    downgrade(database, "0005")
    again = Store(f"sqlite:///{database}")
    again.migrate()
    for job_id, expected, relative in zip(ids, before, (2e-7, 0), strict=True):
        found = again.thinned_steps(job_id, 10_000)
        assert [each["step"] for each in found] == [each["step"] for each in expected]
        for old, new in zip(expected, found, strict=True):
            then = {"weight": None, "epsilon": None}  # neither was kept by that version
            assert near(new | then, old | then, relative)
    assert [again.job(job_id) for job_id in ids] == jobs_before
    with again.reading() as connection:
        assert set(connection.execute(select(jobs.c.recorded_step)).scalars()) == {1299}
        assert connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() == 2
    again.close()
