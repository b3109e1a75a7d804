"""Rows of weight 0 are ignored: a job with them has the bits of the job without them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from batchgrad_engine.messages import AnyEngineMessage, Report
from batchgrad_workers.data.standardization import Standardization
from tests.engine.attempts import attempt, evaluations, finished, newest, rows
from tests.engine.small_job import spec

Arrays = dict[str, npt.NDArray[Any]]
RAW = {"standardize": False, "early_stopping": {"patience": 1}, "batch_size": "full"}
LEFT_OUT = np.array([0, 1, 17, 40, 77, 78, 99, 100])


def by_weight(arrays: Arrays, where: npt.NDArray[np.bool_]) -> dict[str, Any]:
    arrays["weights"][where] = 0
    return {}


def by_class(arrays: Arrays, where: npt.NDArray[np.bool_]) -> dict[str, Any]:
    arrays["targets"][where] = 3
    return {"class_weights": {0: 2.0, 3: 0.0}, "model": four_outputs()}


def four_outputs() -> dict[str, Any]:
    return {"layers": [{"kind": "linear", "out_features": 4}, {"kind": "tanh"}]}


def run(folder: Path, arrays: Arrays, **changes: Any) -> list[AnyEngineMessage]:
    (folder / "data").mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / "data" / f"{name}.npy", array)
    return attempt(spec(**changes), folder / "data", folder)


def figures(messages: list[AnyEngineMessage], ids: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Every step's row and what else is counted, with examples by their numbers in `ids`."""
    reported = [row.model_dump(exclude={"time", "phases"}) for row in rows(messages)]
    for row in reported:
        for most in row["norms"]["largest"]:
            most["example"] = int(ids[most["example"]])
    reports = [m for m in messages if isinstance(m, Report)]
    counts = {
        "examples": sum(report.observed.examples for report in reports),
        "nonfinite": sum(report.observed.nonfinite_examples for report in reports),
        "norms": pytest.approx(sum(report.observed.norm_sum for report in reports), rel=1e-12),
    }
    return [*reported, *(each.model_dump() for each in evaluations(messages)), counts]


@pytest.mark.parametrize("value", [1e6, 3e38])
@pytest.mark.parametrize(
    ("left_out", "changes"),
    [
        (by_weight, {}),
        (by_class, {}),
        (by_weight, RAW),
        (by_class, RAW),
        (by_weight, {"class_weights": "balanced", "update": "mean_of_means", "nonfinite": "drop"}),
    ],
)
def test_a_job_is_the_job_without_such_rows(
    dataset: Path,
    tmp_path: Path,
    left_out: Callable[[Arrays, npt.NDArray[np.bool_]], dict[str, Any]],
    value: float,
    changes: dict[str, Any],
) -> None:
    """Digest, every step's figures, evaluations, counts, mean and deviation, and the ledger."""
    names = ("inputs", "targets", "weights")
    arrays = {name: np.load(dataset / f"{name}.npy") for name in names}
    where = np.isin(np.arange(101), LEFT_OUT)
    arrays["weights"] = np.where(np.arange(101) % 5 == 0, 2.0, 1.0)
    spoiled = {**arrays, "inputs": arrays["inputs"].copy(), "targets": arrays["targets"].copy()}
    spoiled["weights"] = arrays["weights"].copy()
    spoiled["inputs"][where] = value
    changes = {**left_out(spoiled, where), **changes}

    got = run(tmp_path / "with", spoiled, **changes)
    want = run(tmp_path / "without", {n: a[~where] for n, a in arrays.items()}, **changes)

    assert finished(want).outcome == "succeeded"
    assert finished(got).parameters_digest == finished(want).parameters_digest
    numbers = np.flatnonzero(~where)
    assert figures(got, np.arange(101)) == figures(want, numbers)
    mine, theirs = newest(tmp_path / "with"), newest(tmp_path / "without")
    if isinstance(mine.transform, Standardization):
        assert isinstance(theirs.transform, Standardization)
        assert mine.transform.mean.tobytes() == theirs.transform.mean.tobytes()
        assert mine.transform.deviation.tobytes() == theirs.transform.deviation.tobytes()
    for name, column in theirs.ledger.items():
        assert mine.ledger[name][~where].tobytes() == column.tobytes()
        assert not mine.ledger[name][where].any()
