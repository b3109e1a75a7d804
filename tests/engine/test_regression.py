"""R² and RMSE of a regression while it trains, against scikit-learn's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import r2_score, root_mean_squared_error

from batchgrad.contract import JobSpec
from batchgrad_engine.checkpoints.checkpoints import read
from batchgrad_engine.training.regression import r2_and_rmse
from tests.engine.attempts import attempt, evaluations
from tests.workers.splits import drawn

ROWS, HELD_OUT = 90, 0.3


def stored(directory: Path, outputs: int, *, weighted: bool) -> Path:
    random = np.random.default_rng(3)
    inputs = random.normal(size=(ROWS, 4))
    targets = inputs @ random.normal(size=(4, outputs)) + random.normal(0, 0.3, (ROWS, outputs))
    np.save(directory / "inputs.npy", inputs)
    np.save(directory / "targets.npy", 1e4 + 10 * targets[:, 0] if outputs == 1 else targets)
    if weighted:
        np.save(
            directory / "weights.npy",
            random.uniform(0.5, 3, ROWS) * 2.0 ** random.choice([0, 0, 0, 0, 0, 0, 0, 80], ROWS),
        )
    return directory


def regression(outputs: int, **changes: Any) -> JobSpec:
    fields: dict[str, Any] = {
        "name": "regression",
        "dataset": "d",
        "model": {"layers": [{"kind": "linear", "out_features": outputs}]},
        "loss": "huber",
        "optimizer": {"kind": "adam", "learning_rate": 1.0},
        "batch_size": 16,
        "epochs": 3,
        "precision": "float64",
        "microbatch_size": 5,
        "validation_fraction": HELD_OUT,
        "workers": 0,
        "keep": "last",
    }
    return JobSpec.model_validate(fields | changes)


@pytest.mark.parametrize(("outputs", "weighted"), [(1, False), (1, True), (3, True)])
def test_the_figures_are_scikit_learn_s(tmp_path: Path, outputs: int, weighted: bool) -> None:
    data = stored(tmp_path, outputs, weighted=weighted)

    *_, found = evaluations(attempt(regression(outputs), data, tmp_path / "job"))

    rows = drawn(ROWS, HELD_OUT).validation
    names = ("inputs", "targets", "weights") if weighted else ("inputs", "targets")
    arrays = {name: np.load(data / f"{name}.npy")[rows] for name in names}
    trained = read(max((tmp_path / "job").glob("step-*"))).parameters
    predicted = arrays["inputs"] @ trained["0.weight"].T + trained["0.bias"]
    targets = arrays["targets"].reshape(len(rows), outputs)
    weights = arrays.get("weights")
    expected = r2_score(targets, predicted, sample_weight=weights)
    assert found.validation_r2 == pytest.approx(expected, rel=1e-10)
    error = root_mean_squared_error(targets, predicted, sample_weight=weights)
    assert found.validation_rmse == pytest.approx(error, rel=1e-10)
    assert found.validation_accuracy is None


def test_the_best_parameters_can_be_those_with_the_lowest_rmse(tmp_path: Path) -> None:
    stopping = {"metric": "validation_rmse", "patience": 50}
    job = regression(1, keep="best", early_stopping=stopping, epochs=6)

    seen = evaluations(attempt(job, stored(tmp_path, 1, weighted=False), tmp_path / "job"))

    best = [one.best for one in seen]
    errors = [one.validation_rmse or 0.0 for one in seen]
    assert [error == min(errors[: k + 1]) for k, error in enumerate(errors)] == best


def test_equal_targets_have_no_variance_to_explain() -> None:
    assert r2_and_rmse(np.array([0.0, 4.0]), np.array([0.0, 0.0])) == (0.5, 1.0)


def test_figures_that_are_not_finite_are_undefined() -> None:
    assert r2_and_rmse(np.array([np.inf]), np.array([1.0])) == (None, None)
