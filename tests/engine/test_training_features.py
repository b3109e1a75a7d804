"""Schedules, clipping, training on a shortcut, early stopping and full batches, in whole runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_engine.checkpoints import checkpoints
from batchgrad_engine.checkpoints.checkpoints import read
from batchgrad_engine.messages import Started
from tests.engine.attempts import ScriptedCommands, attempt, bits, evaluations, finished, rows
from tests.engine.small_job import spec

COSINE = {"kind": "cosine", "warmup_steps": 3, "final_fraction": 0.1}
ADAMW = {"kind": "adamw", "learning_rate": 0.05, "schedule": COSINE, "clip_norm": 0.3}
PLAIN = {"kind": "sgd", "learning_rate": 0.1}
WILD = {"kind": "sgd", "learning_rate": 2.0, "momentum": 0.95}
STOPPING = {
    "optimizer": WILD,
    "epochs": 30,
    "early_stopping": {"metric": "validation_loss", "patience": 4},
}


def theta(directory: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The parameters of the newest checkpoint as one vector."""
    parameters = read(max(directory.glob("step-*"))).parameters
    return np.concatenate([array.ravel() for array in parameters.values()]).astype(np.float64)


def test_every_row_has_the_rate_that_was_used(dataset: Path, tmp_path: Path) -> None:
    """SGD's first step moves θ by rate · ‖G‖, a third of the rate in a warm-up of 3."""
    schedule = {"kind": "step", "every": 8, "factor": 0.5, "warmup_steps": 3}
    job = spec(optimizer=PLAIN | {"schedule": schedule})
    directory = tmp_path / "job"
    attempt(job, dataset, directory, ScriptedCommands(0, "pause"))
    start = theta(directory)
    first = rows(attempt(job, dataset, directory, ScriptedCommands(1, "pause")))
    moved = np.linalg.norm(theta(directory) - start)
    assert moved == pytest.approx(0.1 / 3 * first[0].gradient_norm, rel=1e-5)
    rates = [row.learning_rate for row in [*first, *rows(attempt(job, dataset, directory))]]
    expected = [0.1 / 3, 0.2 / 3, 0.1, *[0.1] * 8, *[0.05] * 8, 0.025]
    assert rates == pytest.approx(expected, rel=1e-12)


def test_clipping_shortens_the_step_and_reports_the_norm_before(
    dataset: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "job"
    job = spec(optimizer=PLAIN | {"clip_norm": 0.01})
    attempt(job, dataset, directory, ScriptedCommands(0, "pause"))
    start = theta(directory)
    [row] = rows(attempt(job, dataset, directory, ScriptedCommands(1, "pause")))
    assert row.gradient_norm > 0.1
    assert np.linalg.norm(theta(directory) - start) == pytest.approx(0.1 * 0.01, rel=1e-4)


@pytest.mark.parametrize("name", ["averaged_error", "mean_example", "mean_of_means"])
@pytest.mark.parametrize("measured", [None, [], ["averaged_error"]])
def test_update_moves_theta_along_the_shortcut(
    dataset: Path, tmp_path: Path, name: str, measured: list[str] | None
) -> None:
    """The step's length is rate · ‖s‖, and ‖s‖ = norm_ratio · ‖G‖ at the same θ."""
    directory = tmp_path / "job"
    job = spec(optimizer=PLAIN, update=name, shortcuts=measured)
    attempt(job, dataset, directory, ScriptedCommands(0, "pause"))
    start = theta(directory)
    [row] = rows(attempt(job, dataset, directory, ScriptedCommands(1, "pause")))
    exact = spec(optimizer=PLAIN, shortcuts=["averaged_error", "mean_example", "mean_of_means"])
    [beside] = rows(attempt(exact, dataset, tmp_path / "exact", ScriptedCommands(1, "pause")))
    assert (row.loss, row.gradient_norm) == (beside.loss, beside.gradient_norm)
    for each in measured if measured is not None else beside.shortcuts:
        assert row.shortcuts[each] == beside.shortcuts[each]
    ratio = beside.shortcuts[name].norm_ratio
    assert ratio is not None
    length = ratio * beside.gradient_norm
    assert np.linalg.norm(theta(directory) - start) == pytest.approx(0.1 * length, rel=1e-5)


def test_only_the_wanted_shortcuts_are_measured(dataset: Path, tmp_path: Path) -> None:
    job = spec(update="mean_of_means", shortcuts=["mean_example"], epochs=1)
    measured = [set(row.shortcuts) for row in rows(attempt(job, dataset, tmp_path / "job"))]
    assert measured == [{"mean_example"}] * 5


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": ADAMW},
        {"optimizer": ADAMW, "update": "averaged_error", "shortcuts": []},
        {"optimizer": ADAMW, "update": "mean_of_means"},
        {"batch_size": "full", "epochs": 12},
        STOPPING | {"early_stopping": {"metric": "validation_accuracy", "patience": 6}},
    ],
)
def test_paused_run_goes_on_to_the_same_bits(
    dataset: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    job = spec(**changes)
    whole = finished(attempt(job, dataset, tmp_path / "whole"))
    halves = tmp_path / "halves"
    paused = finished(attempt(job, dataset, halves, ScriptedCommands(7, "pause")))
    assert paused.outcome == "paused"
    assert finished(attempt(job, dataset, halves)) == whole


def test_early_stopping_ends_well_before_the_plan_and_says_why(
    dataset: Path, tmp_path: Path
) -> None:
    messages = attempt(spec(**STOPPING), dataset, tmp_path / "job")
    end = finished(messages)
    assert isinstance(messages[0], Started)
    losses = [each.validation_loss for each in evaluations(messages)]
    best = int(np.argmin(np.array(losses, float)))
    assert len(losses) == best + 1 + 4 < 30
    assert (end.outcome, end.reason, end.step) == ("succeeded", None, 5 * len(losses))
    assert messages[0].steps_planned == 150
    assert f"Stopped early after epoch {len(losses)}" in (end.detail or "")
    assert end.parameters_digest is not None


def test_pause_within_the_patience_forgets_nothing(dataset: Path, tmp_path: Path) -> None:
    job = spec(**STOPPING)
    whole = finished(attempt(job, dataset, tmp_path / "whole"))
    often, outcome = tmp_path / "often", "paused"
    while outcome == "paused":  # every step a pause of its own, also the last ones
        end = finished(attempt(job, dataset, often, ScriptedCommands(1, "pause")))
        outcome = end.outcome
    assert end == whole


def test_evaluation_that_was_missed_is_made_up_for(dataset: Path, tmp_path: Path) -> None:
    """An attempt can end between an epoch's last step and its evaluation."""
    directory = tmp_path / "job"
    attempt(spec(), dataset, directory, ScriptedCommands(5, "pause"))
    saved = read(max(directory.glob("step-*")))
    assert saved.progress["evaluation"]["step"] == 5
    saved.progress["evaluation"]["step"] = 0
    checkpoints.write(directory, saved)
    again = attempt(spec(), dataset, directory, ScriptedCommands(0, "pause"))
    assert [each.step for each in evaluations(again)] == [5]


def test_full_batch_is_one_step_an_epoch_of_small_microbatches(
    dataset: Path, tmp_path: Path
) -> None:
    digests, seen = set(), []
    for threads in (1, 3):
        job = spec(batch_size="full", microbatch_size=None, threads=threads)
        messages = attempt(job, dataset, tmp_path / str(threads))
        seen = [(row.step, row.epoch) for row in rows(messages)]
        digests.add(bits(messages))
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert len(digests) == 1


def test_validation_loss_that_overflows_fails_the_job(dataset: Path, tmp_path: Path) -> None:
    linear = {"layers": [{"kind": "linear", "out_features": 3}]}
    np.save(dataset / "targets.npy", np.zeros((101, 3), np.float32))
    job = spec(
        model=linear,
        loss="squared_error",
        optimizer={"kind": "sgd", "learning_rate": 1e25},
        epochs=None,
        steps=1,
    )
    end = finished(attempt(job, dataset, tmp_path / "job"))
    assert (end.outcome, end.reason) == ("failed", "nonfinite")
    assert "validation loss" in (end.detail or "")
