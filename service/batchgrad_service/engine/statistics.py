"""What the norms of a minibatch's per-example gradients tell."""

from dataclasses import dataclass

import numpy as np

from batchgrad_workers.arrays import Array, Integers

QUANTILES = {"min": 0.0, "p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True)
class NoiseScale:
    """McCandlish et al. 2018, An Empirical Model of Large-Batch Training, section 2.2 and A.1.

    trace: tr Σ, unbiased. signal: ‖∇J‖², unbiased, so it can be negative. simple: their ratio,
    the batch size at which noise and signal weigh the same; None when the signal is not positive.
    All None for one example or unequal weights, where the estimators do not hold.
    """

    trace: float | None
    signal: float | None
    simple: float | None


def noise_scale(squared_norms: Array, weights: Array, mean_squared_norm: float) -> NoiseScale:
    """From ‖g_n‖² (N,), w (N,) and ‖G‖².

    trace = N (mean‖g_n‖² - ‖G‖²)/(N-1), signal = (N ‖G‖² - mean‖g_n‖²)/(N-1).
    """
    count = len(squared_norms)
    if count < 2 or not weights[0] > 0 or (weights != weights[0]).any():
        return NoiseScale(None, None, None)
    mean = float(squared_norms.mean(dtype=np.float64))
    trace = count * (mean - mean_squared_norm) / (count - 1)
    signal = (count * mean_squared_norm - mean) / (count - 1)
    return NoiseScale(trace, signal, trace / signal if signal > 0 else None)


def quantiles(norms: Array) -> dict[str, float]:
    """Quantiles of ‖g_n‖ (n,) by name; empty when there are none."""
    if not len(norms):
        return {}
    values = np.quantile(norms, list(QUANTILES.values()))
    return {name: float(value) for name, value in zip(QUANTILES, values, strict=True)}


def largest(ids: Integers, norms: Array, count: int = 5) -> list[tuple[int, float]]:
    """(example, norm) of the largest norms, largest first; ties by example number."""
    order = np.lexsort((ids, -norms))[:count]
    return [(int(ids[k]), float(norms[k])) for k in order]
