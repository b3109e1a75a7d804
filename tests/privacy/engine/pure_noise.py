"""Private jobs on rows whose gradients are all zero: their parameters are noise alone."""

from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from batchgrad_engine.checkpoints.checkpoints import Snapshot
from tests.engine.attempts import attempt, finished, newest
from tests.engine.private_jobs import private_spec, private_start

ROWS, INPUTS, OUTPUTS = 50, 1000, 200
RATE, CLIP_NORM, SIGMA = 0.5, 0.25, 1.6
ROUNDING = 1 + 2**-8
"""What the noise covers besides C; jobs as small as these have no more."""

LEAST_P = 1e-5
"""Of a Kolmogorov-Smirnov test: each build has noise of its own, which must not fail one in 1000.

With P = 200,000 numbers, a deviation that is wrong by 2% has a p below it.
"""
MOST_ERRORS = 4.5
"""Of an observed deviation from the expected one, in standard errors."""


def zero_rows(directory: Path, inputs: int = INPUTS) -> Path:
    """A dataset of 50 rows of so many zeros, whose 200 targets are zero."""
    directory.mkdir()
    np.save(directory / "inputs.npy", np.zeros((ROWS, inputs), np.float32))
    np.save(directory / "targets.npy", np.zeros((ROWS, OUTPUTS), np.float32))
    return directory


def noise_job(privacy: Mapping[str, Any] | None = None, **changes: Any) -> Any:
    """The spec of a job on `zero_rows`: one linear layer without bias, P = 200,000."""
    layer = {"kind": "linear", "out_features": OUTPUTS, "bias": False}
    return private_spec(
        {"clip_norm": CLIP_NORM, "noise_multiplier": SIGMA, **(privacy or {})},
        **{
            "model": {"layers": [layer]},
            "loss": "squared_error",
            "optimizer": {"kind": "sgd", "learning_rate": RATE},
            "epochs": None,
            "steps": 1,
            "checkpoint_interval_seconds": 1000,
            **changes,
        },
    )


def trained(
    dataset: Path, directory: Path, job: Any, steps: int, **start: Any
) -> tuple[npt.NDArray[np.float64], Snapshot]:
    """θ_T - θ_0 (P,) after `steps` steps, and the last checkpoint."""
    job = job.model_copy(update={"steps": steps})
    own = private_start(steps, **{"noise_multiplier": SIGMA, **start})
    assert finished(attempt(job, dataset, directory, privacy=own)).outcome == "succeeded"
    snapshot = newest(directory)
    assert snapshot.step == steps
    first = initial(dataset, directory.with_name(directory.name + "-initial"), job)
    return _flat(snapshot) - first, snapshot


def initial(dataset: Path, directory: Path, job: Any) -> npt.NDArray[np.float64]:
    """θ_0 (P,): what a job with learning rate 0 ends with."""
    still = job.model_copy(
        update={"steps": 1, "optimizer": job.optimizer.model_copy(update={"learning_rate": 0.0})}
    )
    attempt(still, dataset, directory, privacy=private_start(1))
    return _flat(newest(directory))


def is_noise(moved: npt.NDArray[np.float64], steps: int, batch_size: int, sigma: float) -> None:
    """Check that `moved` is drawn from N(0, (s lr √T/N)²), s = σ C."""
    expected = sigma * CLIP_NORM * ROUNDING * RATE * sqrt(steps) / batch_size
    standard_errors = (np.sqrt(np.mean(np.square(moved))) / expected - 1) * sqrt(2 * moved.size)
    assert abs(standard_errors) < MOST_ERRORS
    assert abs(moved.mean() / expected * sqrt(moved.size)) < MOST_ERRORS
    assert stats.kstest(moved / expected, "norm").pvalue > LEAST_P


def _flat(snapshot: Snapshot) -> npt.NDArray[np.float64]:
    return np.concatenate([array.ravel() for array in snapshot.parameters.values()]).astype(float)
