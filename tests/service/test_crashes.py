"""Service and engine crash at many points: each row and event is stored once."""

import json
from pathlib import Path

import pytest

from batchgrad.contract import JobStatus
from batchgrad_engine.checkpoints import unstored_messages
from batchgrad_service.store import Store
from tests.service.crashes import (
    Crashes,
    SimulatedAttempt,
    World,
    make_world,
    run_undisturbed,
    run_with_crashes,
    spec,
    start,
)


@pytest.fixture
def world(store: Store, tmp_path: Path) -> World:
    """A job of evaluations and of warnings about steps."""
    return make_world(store, tmp_path, broken=[0, 20, 40, 60, 80])


@pytest.mark.parametrize(
    ("crashes", "seconds"),
    [
        pytest.param(Crashes(stored=7), 3600.0, id="service killed, the engine leaves"),
        pytest.param(Crashes(stored=7, unacknowledged=3), 3600.0, id="stored, not acknowledged"),
        pytest.param(Crashes(killed=8), 3600.0, id="engine killed"),
        pytest.param(Crashes(killed=8), 1e-9, id="engine killed, with checkpoints"),
        pytest.param(Crashes(stored=8, late=9, killed=6), 1e-9, id="both killed"),
        pytest.param(
            Crashes(stored=11, unacknowledged=5, halfway=3), 1e-9, id="rows, no checkpoint"
        ),
        pytest.param(Crashes(unreported=3), 1e-9, id="between checkpoint and its message"),
        pytest.param(Crashes(stored=9, torn=True), 1e-9, id="newest checkpoint torn"),
        pytest.param(Crashes(stored=0), 3600.0, id="before the first line"),
    ],
)
def test_each_row_and_event_is_stored_once_after_a_crash(
    world: World, crashes: Crashes, seconds: float
) -> None:
    expected = run_undisturbed(world)
    job_id = world.job(spec(checkpoint_interval_seconds=seconds))
    world.attempt(job_id, crashes, ledgers=True)
    world.attempt(job_id, Crashes(), ledgers=False)
    assert world.result(job_id) == expected
    assert len(expected.evaluations) == 2
    assert len(expected.warnings) > 2


@pytest.mark.parametrize("seed", range(2))
def test_each_row_and_event_is_stored_once_after_drawn_crashes(
    store: Store, tmp_path: Path, seed: int
) -> None:
    """Evaluations warn as well here; `make test-stress` draws more seeds."""
    world = make_world(store, tmp_path, broken=range(0, 101, 9))
    assert run_with_crashes(world, seed) == run_undisturbed(world)


@pytest.mark.parametrize("statuses", [("pausing", "paused"), ("cancelling", "cancelled")])
def test_messages_left_by_a_crashed_service_are_stored_when_the_job_ends(
    world: World, statuses: tuple[JobStatus, JobStatus]
) -> None:
    job_id = world.job(spec())
    assert world.store.begin_attempt(job_id) == 1
    begun = start(world, job_id, 1)
    SimulatedAttempt(
        world.reports, job_id, 1, Crashes(stored=6, unacknowledged=2), ledgers=True
    ).live(begun)
    before = world.store.job(job_id).step
    world.end_attempt(job_id, *statuses)
    job = world.store.job(job_id)
    assert job.step == job.parameters_step
    assert job.step > before
    assert [row["step"] for row in world.result(job_id).rows] == list(range(1, job.step + 1))
    assert not (begun.job_directory / unstored_messages.FILE).exists()


def test_the_engine_keeps_only_messages_that_are_not_acknowledged(world: World) -> None:
    job_id = world.job(spec())
    assert world.store.begin_attempt(job_id) == 1
    begun = start(world, job_id, 1)
    life = SimulatedAttempt(
        world.reports, job_id, 1, Crashes(stored=7, unacknowledged=3), ledgers=True
    )
    life.live(begun)
    first_line = (begun.job_directory / unstored_messages.FILE).read_bytes().splitlines()[0]
    numbers = json.loads(first_line)["numbers"]
    assert life.acknowledged == 4
    assert 4 < numbers[0] <= 7


def test_an_unreadable_file_of_messages_is_removed_with_a_warning(world: World) -> None:
    job_id = world.job(spec())
    folder = world.data_dir / "jobs" / job_id
    (folder / unstored_messages.FILE).write_bytes(
        b'{"attempt": 1, "numbers": [1]}\n{"type": "unheard of"}'
    )
    number = world.store.begin_attempt(job_id)
    assert number is not None
    world.reports.take_over(job_id, number)
    assert "can't be read" in world.store.events(job_id).data[-1].data["detail"]
    assert not (folder / unstored_messages.FILE).exists()
