"""ε by privacy loss distributions (Doroshenko et al. 2022, https://arxiv.org/abs/2207.04380)."""

from functools import cache

from batchgrad_engine.privacy.accountant.library import dp_accounting
from batchgrad_engine.privacy.accountant.sampled_gaussian import SampledGaussian

FINE = 1e-4
"""Interval of the grid of privacy losses for what is promised."""

COARSE = 1e-3
_POINTS = 400_000
"""Intervals up to the largest loss of one step."""


MOST_STEPS = 10_000_000
"""Beyond, the library's transforms take minutes and gigabytes."""


class DeltaTooSmallError(ValueError):
    """δ is so small that the rounding of sums over so many steps is no longer negligible."""


def rounding(steps: int) -> float:
    """A bound on the probability that Fourier transforms lose or invent over so many steps."""
    return 1e-14 + steps * 2.0**-52


def interval(mechanism: SampledGaussian, sigma: float, wanted: float) -> float:
    """The interval, `wanted` or less, in units of privacy loss.

    Losses are rounded up at every step: an interval far above their deviation would add up over
    many steps. It is larger only where `_POINTS` intervals would not hold the largest loss.
    """
    finest = min(wanted, mechanism.loss_deviation(sigma) / 10)
    return max(finest, mechanism.largest_loss(sigma) / _POINTS)


class LossCurve:
    """ε by steps of `mechanism` with noise multiplier `sigma`; losses are rounded up to a grid."""

    def __init__(self, mechanism: SampledGaussian, sigma: float, wanted: float = FINE) -> None:
        """`wanted`: the largest interval of the grid; see `interval`."""
        self._delta = mechanism.delta
        library = dp_accounting()
        relations = library.NeighboringRelation
        one = library.pld.privacy_loss_distribution.from_gaussian_mechanism(
            float(sigma),
            value_discretization_interval=interval(mechanism, sigma, wanted),
            sampling_prob=mechanism.q,
            neighboring_relation=relations.REPLACE_SPECIAL
            if mechanism.adjacency == "zero_out"
            else relations.REPLACE_ONE,
        )
        # A mixture with itself is itself, but never sparse: composing n sparse values over T steps,
        # the library first computes the integer n^T.
        self._one = one.compute_mixture(one, 0.5)
        self.epsilon = cache(self._epsilon)

    def _epsilon(self, steps: int) -> float:
        """An upper bound on the ε of this many steps, perhaps inf.

        Raises:
            DeltaTooSmallError: rounding would be a tenth of δ, or more.
        """
        if steps == 0:
            return 0.0
        lost = rounding(steps)
        if lost > self._delta / 10:
            raise DeltaTooSmallError(
                f"{self._delta:g} is too small for accountant: pld over {steps} steps, whose "
                f"rounding is up to {lost:.1g}: raise delta, or use accountant: rdp."
            )
        composed = self._one.self_compose(steps)
        return max(0.0, float(composed.get_epsilon_for_delta(self._delta - lost)))
