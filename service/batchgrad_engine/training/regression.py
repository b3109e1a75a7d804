"""R² and RMSE of a regression on the validation examples."""

from math import isfinite

import numpy as np

from batchgrad_workers.arrays import Floats, Integers
from batchgrad_workers.data.examples import Examples

_CHUNK = 1 << 16


def target_variance(examples: Examples, ids: Integers) -> Floats:
    """Σ w_n (y_n - ȳ)² / Σ w_n (outputs,) of these rows' targets, ȳ their weighted mean."""
    exponent = examples.exponent(ids)
    chunks = [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]
    weight, mean, variance = 0.0, np.zeros(1), np.zeros(1)
    for chunk in chunks:
        targets, weights = examples.targets(chunk, exponent)
        weight += weights.sum()
        mean = mean + weights @ targets
    mean /= weight
    for chunk in chunks:
        targets, weights = examples.targets(chunk, exponent)
        variance = variance + weights @ np.square(targets - mean)
    return variance / weight


def r2_and_rmse(squared_errors: Floats, variance: Floats) -> tuple[float | None, float | None]:
    """R² and RMSE, each the mean over the outputs, as scikit-learn has them; None if not finite.

    `squared_errors` (outputs,) are weighted means over the examples, `variance` (outputs,) the
    targets'. Where an output's targets are all equal, its R² is 1 if it is exact, else 0.
    """
    with np.errstate(all="ignore"):
        explained = 1 - squared_errors / variance
        constant = np.where(squared_errors == 0, 1.0, 0.0)
        r2 = float(np.where(variance > 0, explained, constant).mean())
        rmse = float(np.sqrt(squared_errors).mean())
    return r2 if isfinite(r2) else None, rmse if isfinite(rmse) else None
