"""What the norms of a minibatch's per-example gradients tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from batchgrad.contract import EXAMPLE_NORM_BOUNDS
from batchgrad_workers.arrays import Array, Integers

QUANTILES = {"min": 0.0, "p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
DECAY = 0.95
"""How much of the smoothed noise scale each step keeps: a memory of some 20 steps."""

WANTED_RATIO = 0.5
"""θ of the norm test whose batch size is reported."""


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
    return NoiseScale(trace, signal, _simple(trace, signal))


def _simple(trace: float, signal: float) -> float | None:
    return trace / signal if signal > 0 else None


class SmoothedNoise:
    """Trace and signal over steps, each x̄ = Σ β^age x / Σ β^age (McCandlish et al. 2018, A.1).

    Smoothed apart because a ratio of means has far less bias than a mean of ratios. The division
    corrects the bias of the first steps, as Adam's does. Undetermined steps change nothing.
    """

    def __init__(self) -> None:
        self._trace = self._signal = self._weight = 0.0  # Σ β^age x, and Σ β^age

    def add(self, noise: NoiseScale) -> NoiseScale:
        """Take in one step; the smoothed figures, all None while there are none."""
        if noise.trace is not None and noise.signal is not None:
            self._trace = DECAY * self._trace + noise.trace
            self._signal = DECAY * self._signal + noise.signal
            self._weight = DECAY * self._weight + 1.0
        if not self._weight:
            return NoiseScale(None, None, None)
        trace, signal = self._trace / self._weight, self._signal / self._weight
        return NoiseScale(trace, signal, _simple(trace, signal))

    def state(self) -> list[float]:
        """What a checkpoint keeps, as JSON; floats come back with the same bits."""
        return [self._trace, self._signal, self._weight]

    def restore(self, state: Sequence[float]) -> None:
        """Take up what `state` gave."""
        self._trace, self._signal, self._weight = state


@dataclass(frozen=True)
class NormTest:
    """Byrd et al. 2012, Sample Size Selection in Optimization Methods, section 3.

    The test asks for tr S / N ≤ θ² ‖G‖². ratio: the least θ that passes, √(tr S / N) / ‖G‖.
    batch_size: the N at which θ = ½ passes. Both None where the trace is, and for G = 0.
    """

    ratio: float | None
    batch_size: float | None


def norm_test(trace: float | None, count: int, mean_squared_norm: float) -> NormTest:
    """From this step's unbiased tr S, N and ‖G‖²."""
    if trace is None or not mean_squared_norm > 0:
        return NormTest(None, None)
    relative = max(trace, 0.0) / mean_squared_norm  # rounding may put it below 0
    return NormTest(sqrt(relative / count), relative / WANTED_RATIO**2)


def histogram(norms: Array) -> list[int]:
    """How many ‖g_n‖ (n,) are at most each of EXAMPLE_NORM_BOUNDS and above the one before."""
    buckets = np.searchsorted(EXAMPLE_NORM_BOUNDS, norms)
    return np.bincount(buckets, minlength=len(EXAMPLE_NORM_BOUNDS) + 1).tolist()


def quantiles(norms: Array) -> dict[str, float]:
    """Quantiles of ‖g_n‖ (n,) by name, linear between neighbours; empty when there are none."""
    if not len(norms):
        return {}
    ordered = np.sort(norms)
    found = {}
    for name, fraction in QUANTILES.items():
        below, beyond = divmod(fraction * (len(ordered) - 1), 1)
        low = float(ordered[int(below)])
        found[name] = low
        if beyond:
            found[name] += beyond * (float(ordered[int(below) + 1]) - low)
    return found


def largest(ids: Integers, norms: Array, count: int = 5) -> list[tuple[int, float]]:
    """(example, norm) of the largest norms, largest first; ties by example number."""
    order = np.lexsort((ids, -norms))[:count]
    return [(int(ids[k]), float(norms[k])) for k in order]
