"""Crashes of service and engine at random points, simulated in this process with many seeds."""

from pathlib import Path

from batchgrad_service.store import Store
from tests.service.crashes import make_world, run_undisturbed, run_with_crashes

SEEDS = range(100, 112)


def test_each_row_and_event_is_stored_once(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/batchgrad.sqlite3")
    store.migrate()
    world = make_world(store, tmp_path, broken=range(0, 101, 9))
    expected = run_undisturbed(world)
    for seed in SEEDS:
        assert run_with_crashes(world, seed) == expected, f"seed {seed}"
    store.close()
