"""The best evaluation's parameters are kept, also in runs that are stopped and resumed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from batchgrad.contract import JobSpec
from batchgrad_engine.checkpoints.checkpoints import BadCheckpoint, read
from batchgrad_engine.checkpoints.exports import parameters_as_npz
from batchgrad_engine.messages import Checkpointed
from tests.engine.attempts import ScriptedCommands, attempt, bits, evaluations, finished
from tests.engine.small_job import spec

STOPPING: dict[str, Any] = {
    "epochs": 60,
    "optimizer": {"kind": "adam", "learning_rate": 0.05},
    "early_stopping": {"patience": 3},
}


@pytest.fixture
def noise(dataset: Path) -> Path:
    """The dataset with targets that have nothing to do with the inputs: a job soon overfits."""
    np.save(dataset / "targets.npy", np.random.default_rng(5).integers(0, 3, 101))
    return dataset


def best_evaluation(job: JobSpec, dataset: Path, directory: Path) -> tuple[int, str | None]:
    """The step of the first evaluation with the best figure, and a run's digest that ends there."""
    seen = evaluations(attempt(job, dataset, directory / "watched"))
    accuracy = job.early_stopping and job.early_stopping.metric == "validation_accuracy"
    scores = [e.validation_accuracy if accuracy else e.validation_loss for e in seen]
    ordered = np.array(scores, float) * (1 if accuracy else -1)
    step = seen[int(np.argmax(ordered))].step
    short = job.model_copy(update={"early_stopping": None, "epochs": step // 5, "keep": "last"})
    return step, bits(attempt(short, dataset, directory / "short"))[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"early_stopping": None, "epochs": 12},
        {"early_stopping": {"patience": 3, "min_delta": 0.02}},
        {"early_stopping": {"patience": 4, "metric": "validation_accuracy"}},
    ],
)
def test_the_best_evaluations_parameters_are_kept(
    noise: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    job = spec(**STOPPING | changes)
    step, expected = best_evaluation(job, noise, tmp_path)
    messages = attempt(job, noise, tmp_path / "job")
    end = finished(messages)
    assert step < end.step
    assert end.parameters_digest == expected
    assert end.last_parameters_digest != expected
    assert [e.step for e in evaluations(messages) if e.best][-1] == step
    saved = [m for m in messages if isinstance(m, Checkpointed)][-1]
    assert saved.best is not None
    assert (saved.best.step, saved.best.parameters_digest) == (step, expected)
    assert f"after epoch {step // 5}, step {step}" in (end.detail or "")
    file = max((tmp_path / "job").glob("step-*"))
    best, last = (parameters_as_npz(file, which=which) for which in ("best", "last"))
    assert best != last


@pytest.mark.parametrize("kind", ["pause", "interrupt"])
@pytest.mark.parametrize("steps", [5, 9, 17])
def test_a_stopped_run_keeps_the_same_best(
    noise: Path, tmp_path: Path, kind: str, steps: int
) -> None:
    job = spec(**STOPPING)
    whole = finished(attempt(job, noise, tmp_path / "whole"))
    attempt(job, noise, tmp_path / "job", ScriptedCommands(steps, kind))
    assert finished(attempt(job, noise, tmp_path / "job")) == whole


def test_a_killed_run_keeps_the_same_best(noise: Path, tmp_path: Path) -> None:
    """As after SIGKILL: the checkpoints so far are there, the newest ones perhaps torn."""
    job = spec(**STOPPING, checkpoint_interval_seconds=1e-9)
    whole = finished(attempt(job, noise, tmp_path / "job"))
    files = sorted((tmp_path / "job").glob("step-*"))
    for cut in range(len(files) - 1, 0, -7):
        for later in files[cut:]:
            later.unlink(missing_ok=True)
        files[cut].write_bytes(files[cut - 1].read_bytes()[:200])
        assert finished(attempt(job, noise, tmp_path / "job")) == whole


def test_where_the_last_are_kept_no_best_is_written(noise: Path, tmp_path: Path) -> None:
    variants: list[dict[str, Any]] = [{"keep": "last"}, {"validation_fraction": 0.0}]
    for number, changes in enumerate(variants):
        directory = tmp_path / str(number)
        messages = attempt(
            spec(**{**STOPPING, "early_stopping": None, **changes}), noise, directory
        )
        end = finished(messages)
        assert (end.parameters_digest, end.detail) == (end.last_parameters_digest, None)
        assert not any(each.best for each in evaluations(messages))
        file = max(directory.glob("step-*"))
        with safe_open(file, "numpy") as tensors:
            assert not [name for name in tensors.keys() if name.startswith("best/")]  # noqa: SIM118
        with pytest.raises(BadCheckpoint, match="no best parameters"):
            parameters_as_npz(file, which="best")


def test_a_best_that_is_the_last_is_written_once(dataset: Path, job_directory: Path) -> None:
    """This run learns to the end."""
    end = finished(attempt(spec(), dataset, job_directory))
    assert end.parameters_digest == end.last_parameters_digest
    file = max(job_directory.glob("step-*"))
    with safe_open(file, "numpy") as tensors:
        assert not [name for name in tensors.keys() if name.startswith("best/")]  # noqa: SIM118
    saved = read(file)
    assert saved.best is not None
    assert saved.best.evaluation.step == saved.step == 20


def test_best_needs_a_figure() -> None:
    with pytest.raises(ValueError, match="keep: best needs validation figures"):
        spec(keep="best", validation_fraction=0.0)
