"""ε by steps: one curve for a mechanism and a noise multiplier, by the accountant of the job."""

from dataclasses import replace
from typing import Protocol

from batchgrad_engine.privacy.accountant.losses import FINE, LossCurve
from batchgrad_engine.privacy.accountant.renyi import RenyiCurve
from batchgrad_engine.privacy.accountant.sampled_gaussian import MOST_EPSILON, SampledGaussian


class Curve(Protocol):
    """Upper bounds on ε."""

    def epsilon(self, steps: int) -> float:
        """An upper bound on the ε of this many steps, perhaps inf.

        Raises:
            DeltaTooSmallError: the accountant cannot resolve δ over so many steps.
        """


RESOLVED = 200_000
"""Intervals up to ε, at least, for what is promised."""


def promised(mechanism: SampledGaussian, sigma: float, steps: int) -> Curve:
    """The curve for what the job promises after `steps` steps; of pld, with a fine interval."""
    if mechanism.accountant == "rdp":
        return RenyiCurve(mechanism, sigma)
    null = replace(mechanism, adjacency="zero_out")
    alike = sigma if mechanism.adjacency == "zero_out" else sigma / 2
    rough = RenyiCurve(null, alike).epsilon(steps)
    return LossCurve(mechanism, sigma, max(FINE, min(rough, 4 * MOST_EPSILON) / RESOLVED))


def curve(mechanism: SampledGaussian, sigma: float, wanted: float) -> Curve:
    """The curve for noise multiplier `sigma`; of pld, with this interval or a smaller one."""
    if mechanism.accountant == "rdp":
        return RenyiCurve(mechanism, sigma)
    return LossCurve(mechanism, sigma, wanted)


def most_steps(curve: Curve, wanted: int, epsilon: float) -> int:
    """The most steps, `wanted` or fewer, that spend at most ε; 0 if none."""
    if curve.epsilon(wanted) <= epsilon:
        return wanted
    within, beyond = 0, wanted
    while beyond - within > 1:
        middle = (within + beyond) // 2
        if curve.epsilon(middle) <= epsilon:
            within = middle
        else:
            beyond = middle
    return within
