"""Numbers that are not finite, in whole attempts: dropped if wanted, else a failure with advice."""

import re
from pathlib import Path

import numpy as np
import pytest

from batchgrad_engine.checkpoints.job_directory import newest
from batchgrad_engine.messages import Checkpointed, Report
from tests.engine.attempts import ScriptedCommands, attempt, finished, rows, warnings
from tests.engine.norms_of_rows import norms_of
from tests.engine.small_job import spec

LINEAR = {"layers": [{"kind": "linear", "out_features": 3}]}
HOT = {
    "standardize": False,
    "validation_fraction": 0.0,
    "loss": "squared_error",
    "epochs": 1,
    "optimizer": {"kind": "sgd", "learning_rate": 1e-3},
}


@pytest.fixture
def hot(dataset: Path) -> Path:
    np.save(dataset / "targets.npy", np.zeros((101, 3), np.float32))
    inputs = np.load(dataset / "inputs.npy")
    inputs[[11, 42]] = 3e38
    np.save(dataset / "inputs.npy", inputs)
    return dataset


def test_nonfinite_examples_stop_the_job_and_are_named(hot: Path, job_directory: Path) -> None:
    end = finished(attempt(spec(model=LINEAR, **HOT), hot, job_directory))
    assert (end.outcome, end.reason) == ("failed", "nonfinite")
    assert end.detail is not None
    assert re.search(r"\b1 of 20 examples, first \[(11|42)\]", end.detail)
    assert "learning rate" in end.detail


def test_nonfinite_examples_are_dropped_if_wanted(hot: Path, job_directory: Path) -> None:
    messages = attempt(spec(model=LINEAR, nonfinite="drop", **HOT), hot, job_directory)
    assert finished(messages).outcome == "succeeded"
    counted = sum(m.observed.nonfinite_examples for m in messages if isinstance(m, Report))
    assert counted == 2
    reported = " ".join(warnings(messages))
    assert sorted(re.findall(r"first \[([^]]*)\]", reported)) == ["11", "42"]
    assert np.isfinite(np.array([row.loss for row in rows(messages)], np.float64)).all()


def test_weights_that_underflow_beside_the_dropped_ones_make_no_update(
    hot: Path, job_directory: Path
) -> None:
    weights = np.full(101, 2.0**-200)
    weights[[11, 42]] = 1
    np.save(hot / "weights.npy", weights)
    messages = attempt(spec(model=LINEAR, nonfinite="drop", **HOT), hot, job_directory)
    assert finished(messages).outcome == "succeeded"
    assert [row.loss for row in rows(messages)].count(None) in (1, 2)


@pytest.mark.parametrize("nonfinite", ["fail", "drop"])
def test_finite_figures_whose_product_overflows_are_accepted(
    dataset: Path, job_directory: Path, nonfinite: str
) -> None:
    np.save(dataset / "targets.npy", np.full((101, 3), 1e10, np.float32))
    changes = HOT | {"optimizer": {"kind": "sgd", "learning_rate": 1e-30}}
    messages = attempt(spec(model=LINEAR, nonfinite=nonfinite, **changes), dataset, job_directory)
    assert finished(messages).outcome == "succeeded"
    assert {m.observed.nonfinite_examples for m in messages if isinstance(m, Report)} == {0}
    for row in rows(messages):
        assert row.loss is not None
        assert row.loss * norms_of(row).largest[0].norm ** 2 > float(np.finfo(np.float32).max)


def test_learning_rate_that_overflows_ends_with_the_remedy(
    dataset: Path, job_directory: Path
) -> None:
    np.save(dataset / "targets.npy", np.zeros((101, 3), np.float32))
    changes = HOT | {"optimizer": {"kind": "sgd", "learning_rate": 1e20}}
    end = finished(attempt(spec(model=LINEAR, **changes), dataset, job_directory))
    assert (end.outcome, end.reason) == ("failed", "nonfinite")
    assert "diverged: lower the learning rate" in (end.detail or "")


def test_the_state_before_the_bad_step_is_kept(dataset: Path, job_directory: Path) -> None:
    np.save(dataset / "targets.npy", np.zeros((101, 3), np.float32))
    changes = HOT | {"optimizer": {"kind": "sgd", "learning_rate": 1e3}, "epochs": 9}
    messages = attempt(spec(model=LINEAR, **changes), dataset, job_directory)
    end = finished(messages)
    assert (end.outcome, end.reason) == ("failed", "nonfinite")
    assert end.step > 0
    [saved] = [m for m in messages if isinstance(m, Checkpointed)]
    kept, errors = newest(job_directory)
    assert kept is not None
    assert (kept.step, kept.parameters_digest, errors) == (
        end.step,
        saved.parameters_digest,
        [],
    )
    assert all(np.isfinite(values).all() for values in kept.parameters.values())
    again = attempt(spec(model=LINEAR, **changes), dataset, job_directory)
    assert finished(again).detail == end.detail


def test_finite_examples_whose_sum_overflows_end_with_the_remedy(
    dataset: Path, job_directory: Path
) -> None:
    np.save(dataset / "targets.npy", np.full((101, 3), 3e307))
    changes = HOT | {"loss": "absolute_error", "precision": "float64"}
    end = finished(attempt(spec(model=LINEAR, **changes), dataset, job_directory))
    assert (end.outcome, end.reason) == ("failed", "nonfinite")
    assert "weighted sum is not" in (end.detail or "")


def test_a_dataset_without_any_weight_is_refused(dataset: Path, job_directory: Path) -> None:
    np.save(dataset / "weights.npy", np.zeros(101))
    end = finished(attempt(spec(), dataset, job_directory))
    assert (end.outcome, end.reason) == ("failed", "bad_inputs")


def test_last_update_that_overflows_is_no_success(dataset: Path, job_directory: Path) -> None:
    np.save(dataset / "targets.npy", np.zeros((101, 3), np.float32))
    changes = HOT | {
        "optimizer": {"kind": "sgd", "learning_rate": 3e38},
        "epochs": None,
        "steps": 1,
    }
    np.save(dataset / "inputs.npy", 1e3 * np.load(dataset / "inputs.npy"))
    end = finished(attempt(spec(model=LINEAR, **changes), dataset, job_directory))
    assert (end.outcome, end.reason) == ("failed", "nonfinite")
    assert "parameters are not finite after step 1" in (end.detail or "")
    assert not list(job_directory.glob("step-*"))


def test_inputs_too_large_to_standardize_fail_the_job(dataset: Path, job_directory: Path) -> None:
    inputs = np.load(dataset / "inputs.npy").astype(np.float64)
    inputs[:, 2] = np.where(np.arange(101) % 2, 1.5e308, -1.5e308)  # a range beyond float64
    np.save(dataset / "inputs.npy", inputs)
    end = finished(attempt(spec(), dataset, job_directory))
    assert (end.outcome, end.reason) == ("failed", "bad_inputs")


def test_a_broken_example_is_warned_of_once(hot: Path, job_directory: Path) -> None:
    changes = HOT | {"epochs": 6}
    messages = attempt(spec(model=LINEAR, nonfinite="drop", **changes), hot, job_directory)
    assert 1 <= len(warnings(messages)) <= 2


def test_a_resumed_attempt_does_not_warn_of_an_example_again(
    hot: Path, job_directory: Path
) -> None:
    job = spec(model=LINEAR, nonfinite="drop", **HOT | {"epochs": 3})
    assert warnings(attempt(job, hot, job_directory, ScriptedCommands(7, "pause")))
    second = attempt(job, hot, job_directory)
    assert sum(m.observed.nonfinite_examples for m in second if isinstance(m, Report))
    assert warnings(second) == []


@pytest.mark.parametrize("nonfinite", ["fail", "drop"])
def test_step_1_speaks_of_the_numbers_since_nothing_was_updated(
    dataset: Path, job_directory: Path, nonfinite: str
) -> None:
    np.save(dataset / "inputs.npy", np.full((101, 6), 1e60))
    job = spec(standardize=False, validation_fraction=0.0, nonfinite=nonfinite)
    detail = finished(attempt(job, dataset, job_directory)).detail or ""
    assert "There was no update yet, so the inputs, targets or" in detail
    assert "diverged" not in detail
    assert "learning rate" not in detail
    assert ("nonfinite: drop" in detail) == (nonfinite == "fail")
