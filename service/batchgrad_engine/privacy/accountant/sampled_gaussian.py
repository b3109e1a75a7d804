"""The mechanism that an accountant bounds: Gaussian noise on a Poisson sample, many times."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import expm1, log1p, sqrt
from typing import Literal

from batchgrad.contract import Accountant, Privacy

LEAST_MULTIPLIER = 0.1
"""With it, one sampled row's privacy loss is about 50: less noise hides nobody."""

MOST_EPSILON = 500.0
"""e^ε must be a number; such a bound protects nobody anyway."""


@dataclass(frozen=True)
class SampledGaussian:
    """Each row is in a step's sample by itself, with probability `rate` (q), and adds at most C.

    Fixed batches, shuffled or not, are another mechanism, with a larger ε (Chua et al. 2024,
    https://arxiv.org/abs/2403.17673).
    """

    rate: Fraction
    delta: float
    adjacency: Literal["zero_out", "replace"]
    accountant: Accountant

    @classmethod
    def of(cls, privacy: Privacy, batch_size: int, training_rows: int) -> "SampledGaussian":
        """The mechanism of a job with minibatches of N = `batch_size` of n = `training_rows`."""
        rate = min(Fraction(1), Fraction(batch_size, training_rows))
        return cls(rate, privacy.delta, privacy.adjacency, privacy.accountant)

    @cached_property
    def q(self) -> float:
        """The rate as a float."""
        return float(self.rate)

    def loss_deviation(self, sigma: float) -> float:
        """About the deviation of one step's privacy loss: q (e^(1/σ²) − 1)^½."""
        return self.q * sqrt(expm1(min(1 / sigma**2, MOST_EPSILON)))

    def largest_loss(self, sigma: float) -> float:
        """About the largest privacy loss of one step, ten deviations out: ln(1 + q (e^L − 1))."""
        distance = 1 if self.adjacency == "zero_out" else 2
        loss = distance**2 / (2 * sigma**2) + 10 * distance / sigma
        return log1p(self.q * expm1(min(loss, MOST_EPSILON)))
