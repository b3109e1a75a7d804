"""A lower bound on a job's ε from its parameters alone: the audit in one run.

Steinke, Nasr, Jagielski 2023, "Privacy auditing with one (1) training run", theorem 5.2 and the
listing of appendix D. A fair coin decides for each of m rows whether it is in the dataset or null;
the auditor guesses r of the coins from the parameters, and v guesses are right. If the job is
(ε, δ) private, so many right guesses are rare.
"""

from math import exp

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.optimize import brentq


def most_likely_bound(
    scores: npt.NDArray[np.float64], present: npt.NDArray[np.bool_], delta: float
) -> float:
    """The best lower bound on ε, at 95% confidence, over guesses of 64 … 1024 of the coins.

    A high score (m,) says that the row was there. The numbers r are tried in powers of two, with
    Bonferroni's correction for their number.
    """
    rows = len(scores)
    order = np.argsort(scores)
    sizes = [size for size in (64, 128, 256, 512, 1024) if size <= rows]
    bounds = []
    for size in sizes:
        low, high = order[: size // 2], order[-(size // 2) :]
        right = int((~present[low]).sum() + present[high].sum())
        bounds.append(epsilon_bound(rows, size, right, delta, 0.05 / len(sizes)))
    return max(bounds)


def epsilon_bound(rows: int, guesses: int, right: int, delta: float, error: float) -> float:
    """The largest ε that is refuted at this probability of an error; 0 if none is."""
    if _chance(rows, guesses, right, 0.0, delta) >= error:
        return 0.0
    return float(
        brentq(lambda epsilon: _chance(rows, guesses, right, epsilon, delta) - error, 0.0, 50.0)
    )


def _chance(rows: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """The most that so many right guesses can have as their probability."""
    each = 1 / (1 + exp(-epsilon))
    tail = float(stats.binom.sf(right - 1, guesses, each))
    below = np.cumsum(stats.binom.pmf(np.arange(right - 1, -1, -1), guesses, each))
    alpha = float((below / np.arange(1, right + 1)).max(initial=0.0))
    return min(tail + 2 * rows * delta * alpha, 1.0)


def gaussian_epsilon(sigma: float, delta: float) -> float:
    """ε of one Gaussian mechanism (Balle and Wang 2018, theorem 8)."""

    def excess(epsilon: float) -> float:
        a, b = 1 / (2 * sigma), epsilon * sigma
        return float(stats.norm.cdf(a - b) - exp(epsilon) * stats.norm.cdf(-a - b)) - delta

    return float(brentq(excess, 0.0, 100.0))
