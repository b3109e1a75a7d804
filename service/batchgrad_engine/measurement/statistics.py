"""Statistics of a minibatch's per-example gradient norms: noise scale, norm test, quantiles."""

from collections.abc import Sequence
from math import isfinite, sqrt
from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from batchgrad.contract import EXAMPLE_NORM_BOUNDS
from batchgrad_workers.arrays import Array, Integers

QUANTILES = {"min": 0.0, "p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
DECAY = 0.95
"""Part of the smoothed noise scale that each step keeps: it averages over about 20 steps."""

WANTED_RATIO = 0.5
"""θ of the norm test whose batch size is reported."""


class NoiseScale(NamedTuple):
    """McCandlish et al. 2018, An Empirical Model of Large-Batch Training, section 2.2 and A.1.

    trace: tr Σ, unbiased. signal: ‖∇J‖², unbiased, so it can be negative. simple: their ratio,
    the batch size at which noise equals signal; None unless the signal is positive.
    All None for one example or unequal weights, where the estimators do not hold.
    """

    trace: float | None
    signal: float | None
    simple: float | None


def noise_scale(norms: Array, weights: Array, gradient_norm: float) -> NoiseScale:
    """From ‖g_n‖ (N,), w (N,) and ‖G‖, of one step."""
    return noise_scales(norms[None], weights[None], [gradient_norm])[0]


def noise_scales(norms: Array, weights: Array, gradient_norms: Sequence[float]) -> list[NoiseScale]:
    """For each step, from ‖g_n‖ (s, N), w (s, N) and ‖G‖.

    trace = N (mean‖g_n‖² - ‖G‖²)/(N-1), signal = (N ‖G‖² - mean‖g_n‖²)/(N-1). A trace that
    rounding makes negative is 0; if squares overflow float64, all are None.
    """
    steps, count = norms.shape
    undetermined = NoiseScale(None, None, None)
    if count < 2:
        return [undetermined] * steps
    with np.errstate(over="ignore"):
        means = (np.square(norms, dtype=np.float64).sum(axis=1) / count).tolist()
    holds = (weights[:, 0] > 0) & (weights == weights[:, :1]).all(axis=1)
    found = []
    for mean, norm, equal in zip(means, gradient_norms, holds.tolist(), strict=True):
        squared = norm * norm
        trace = max(0.0, count * (mean - squared) / (count - 1))
        signal = (count * squared - mean) / (count - 1)
        sure = equal and isfinite(trace) and isfinite(signal)
        found.append(NoiseScale(trace, signal, _simple(trace, signal)) if sure else undetermined)
    return found


def _simple(trace: float, signal: float) -> float | None:
    return trace / signal if signal > 0 else None


class SmoothedNoise:
    """Trace and signal over steps, each x̄ = Σ β^age c x / Σ β^age c (McCandlish et al. 2018, A.1).

    c is the step's fraction of a full minibatch, so that a shorter minibatch counts less.
    Trace and signal are smoothed separately: a ratio of means has far less bias than a mean of
    ratios. The division corrects the bias of the first steps, as Adam's does. Undetermined steps
    change nothing.
    """

    def __init__(self) -> None:
        self._trace = self._signal = self._weight = 0.0  # Σ β^age c x, and Σ β^age c

    def add(self, noise: NoiseScale, part: float = 1.0) -> NoiseScale:
        """Add a step that is `part` of a full minibatch, and return the smoothed figures."""
        if noise.trace is not None and noise.signal is not None:
            self._trace = DECAY * self._trace + part * noise.trace
            self._signal = DECAY * self._signal + part * noise.signal
            self._weight = DECAY * self._weight + part
        if not self._weight:
            return NoiseScale(None, None, None)
        trace, signal = self._trace / self._weight, self._signal / self._weight
        return NoiseScale(trace, signal, _simple(trace, signal))

    def state(self) -> list[float]:
        """State for a checkpoint, as JSON values; floats keep their bits."""
        return [self._trace, self._signal, self._weight]

    def restore(self, state: Sequence[float]) -> None:
        """Continue from what `state` returned."""
        self._trace, self._signal, self._weight = state


class NormTest(TypedDict):
    """Byrd et al. 2012, Sample Size Selection in Optimization Methods, section 3.

    The test is tr S / N ≤ θ² ‖G‖². ratio: the least θ that passes, √(tr S / N) / ‖G‖.
    batch_size: the N at which θ = ½ passes. Both are None if the trace is None or G = 0.
    """

    ratio: float | None
    batch_size: float | None


def norm_test(trace: float | None, count: int, gradient_norm: float) -> NormTest:
    """From this step's unbiased tr S, N and ‖G‖."""
    squared = gradient_norm * gradient_norm
    if trace is None or not squared > 0:
        return {"ratio": None, "batch_size": None}
    relative = trace / squared
    return {"ratio": sqrt(relative / count), "batch_size": relative / WANTED_RATIO**2}


def histograms(norms: Array) -> npt.NDArray[np.int64]:
    """Count each step's ‖g_n‖ (s, n) in buckets: (s, bounds + 1).

    Bucket k holds norms up to EXAMPLE_NORM_BOUNDS[k]; the last one holds those above all bounds.
    """
    steps, width = len(norms), len(EXAMPLE_NORM_BOUNDS) + 1
    buckets = np.searchsorted(EXAMPLE_NORM_BOUNDS, norms.reshape(-1)).reshape(norms.shape)
    buckets += width * np.arange(steps)[:, None]
    return np.bincount(buckets.reshape(-1), minlength=steps * width).reshape(steps, width)


def quantiles(ordered: Array) -> dict[str, tuple[float, ...]]:
    """By name, quantiles of every row of ascending norms (s, n), linear between neighbours.

    Empty if n = 0.
    """
    count = ordered.shape[1]
    if not count:
        return {}
    place = np.array(list(QUANTILES.values())) * (count - 1)
    below = place.astype(np.intp)
    low, high = ordered[:, below].astype(np.float64), ordered[:, np.minimum(below + 1, count - 1)]
    found = low + (place - below) * (high - low)
    return dict(zip(QUANTILES, map(tuple, found.T.tolist()), strict=True))


class LargestNorms(TypedDict):
    """An example of each step whose gradient was among the largest, and its norm."""

    example: tuple[int, ...]
    norm: tuple[float, ...]


def largest(ids: Integers, norms: Array, ordered: Array, count: int = 5) -> list[LargestNorms]:
    """The `count` largest of each step's norms (s, n), largest first; ties by example number.

    `ids` (s, n) are the examples, `ordered` (s, n) the norms in ascending order.
    """
    count = min(count, norms.shape[1])
    if not count:
        return []
    step, place = np.nonzero(~(norms < ordered[:, -count, None]))  # NaN, sorted last, is one
    examples, high = ids[step, place], norms[step, place]
    by_norm = np.lexsort((examples, -high, step))
    starts = np.searchsorted(step, np.arange(len(norms)))  # np.nonzero goes step by step
    chosen = by_norm[starts[:, None] + np.arange(count)]
    return [
        {"example": tuple(n), "norm": tuple(sizes)}
        for n, sizes in zip(examples[chosen].T.tolist(), high[chosen].T.tolist(), strict=True)
    ]
