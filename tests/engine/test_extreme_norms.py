"""Attempts whose gradients cancel, or whose squares overflow or underflow."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_engine.messages import Report
from tests.engine.attempts import attempt, finished, rows
from tests.engine.norms_of_rows import norms_of
from tests.engine.small_job import spec

CHOICE: dict[str, Any] = {
    "layers": [{"kind": "linear", "out_features": 1, "bias": False}, {"kind": "flatten"}]
}
"""A score for each alternative, softmax over alternatives."""

PLAIN: dict[str, Any] = {
    "standardize": False,
    "validation_fraction": 0.0,
    "epochs": None,
    "steps": 3,
    "batch_size": "full",
    "optimizer": {"kind": "sgd", "learning_rate": 1e-300},
}


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("alike", [1, 20, 40])
def test_a_choice_model_with_equal_alternatives_trains(
    alike: int, precision: str, dataset: Path, job_directory: Path
) -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(40, 3, 19))
    inputs[:alike] = inputs[:alike, :1] + 1.1
    np.save(dataset / "inputs.npy", inputs)
    np.save(dataset / "targets.npy", np.zeros(40, np.int64))
    np.save(dataset / "weights.npy", np.ones(40))

    job = spec(model=CHOICE, precision=precision, nonfinite="drop", **PLAIN)
    messages = attempt(job, dataset, job_directory)

    assert finished(messages).outcome == "succeeded"
    for row in rows(messages):
        assert sum(norms_of(row).histogram) == 40
        assert norms_of(row).quantiles["min"] < 1e-4
        assert norms_of(row).largest[0].norm > (alike < 40)
    assert {m.observed.nonfinite_examples for m in messages if isinstance(m, Report)} == {0}


@pytest.mark.parametrize(
    ("precision", "size"), [("float32", 1e24), ("float32", 1e-25), ("float64", 1e200)]
)
def test_gradients_whose_squares_leave_their_range_count(
    precision: str, size: float, dataset: Path, job_directory: Path
) -> None:
    inputs = np.load(dataset / "inputs.npy").astype(np.float64) * size
    targets = np.random.default_rng(0).normal(size=(101, 3)) * 1e-3
    np.save(dataset / "inputs.npy", inputs.astype(precision))
    np.save(dataset / "targets.npy", targets)
    np.save(dataset / "weights.npy", np.ones(101))
    model = {"layers": [{"kind": "linear", "out_features": 3, "bias": False}]}

    job = spec(model=model, precision=precision, loss="linear_error", **PLAIN)
    messages = attempt(job, dataset, job_directory)

    assert finished(messages).detail is None
    row = rows(messages)[0]
    own = np.linalg.norm(inputs / size, axis=1) * np.sqrt(3)
    assert norms_of(row).quantiles["max"] == pytest.approx(size * own.max(), rel=1e-6)
    assert norms_of(row).largest[0].example == own.argmax()
    mean = np.linalg.norm((inputs / size).mean(axis=0)) * np.sqrt(3)
    assert row.gradient_norm == pytest.approx(size * mean, rel=1e-5)
    for name in ("averaged_error", "mean_example"):  # exact for this loss
        shortcut = row.shortcuts[name]
        assert shortcut.relative_error is not None
        assert shortcut.relative_error < 1e-4
        assert shortcut.cosine_similarity == pytest.approx(1)


def test_norms_whose_sum_is_beyond_json_end_no_job(dataset: Path, job_directory: Path) -> None:
    np.save(dataset / "inputs.npy", np.full((101, 6), 1e308))
    np.save(dataset / "weights.npy", np.ones(101))
    model = {"layers": [{"kind": "linear", "out_features": 3, "bias": False}]}
    np.save(dataset / "targets.npy", np.zeros((101, 3)))
    job = spec(model=model, precision="float64", loss="absolute_error", **PLAIN)

    end = finished(attempt(job, dataset, job_directory))

    assert end.reason == "nonfinite"  # their sum is beyond float64, and says so
