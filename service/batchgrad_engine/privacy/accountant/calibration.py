"""The smallest noise multiplier for a budget, and the noise of evaluations."""

from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_CEILING, Context, Decimal
from math import sqrt

from batchgrad_engine.privacy.accountant.curves import RESOLVED, curve, promised
from batchgrad_engine.privacy.accountant.library import dp_accounting
from batchgrad_engine.privacy.accountant.losses import COARSE, FINE
from batchgrad_engine.privacy.accountant.renyi import RenyiCurve
from batchgrad_engine.privacy.accountant.sampled_gaussian import LEAST_MULTIPLIER, SampledGaussian

MOST_MULTIPLIER = 1e7
_DIGITS = Context(prec=4, rounding=ROUND_CEILING)


class NoMultiplierError(ValueError):
    """No noise multiplier keeps the budget."""


def smallest_multiplier(mechanism: SampledGaussian, steps: int, epsilon: float) -> float:
    """σ, at most 2% above the smallest whose `steps` spend at most ε; four significant digits.

    Rényi divergences bracket σ, coarse loss distributions narrow it, fine ones prove it.

    Raises:
        NoMultiplierError: none below `MOST_MULTIPLIER`.
        DeltaTooSmallError: see `Curve.epsilon`.
    """
    found = _by_renyi(mechanism, steps, epsilon)
    if mechanism.accountant == "pld":
        wanted = max(min(max(epsilon / 500, FINE), COARSE), epsilon / RESOLVED)
        found = _smallest(
            lambda sigma: curve(mechanism, sigma, wanted).epsilon(steps) <= epsilon,
            start=found or 1e3,
            close=1.002,
        )
    while found is not None:
        sigma = rounded_up(found)
        if promised(mechanism, sigma, steps).epsilon(steps) <= epsilon:
            return sigma
        found = sigma * 1.0005
        if found > MOST_MULTIPLIER:
            break
    other = "use accountant: pld" if mechanism.accountant == "rdp" else "use smaller minibatches"
    raise NoMultiplierError(
        f"no noise multiplier up to {MOST_MULTIPLIER:g} keeps epsilon {epsilon:g} over {steps} "
        f"steps by accountant: {mechanism.accountant}: raise epsilon, train for fewer steps, or "
        f"{other}."
    )


def validation_multiplier(evaluations: int, epsilon: float, delta: float) -> float:
    """σ_v: evaluations of sensitivity 1 with this noise compose to (ε, δ); four digits.

    E Gaussian releases with σ_v are one with σ_v / √E, whose smallest σ is known exactly (Balle and
    Wang 2018, https://arxiv.org/abs/1805.06530).
    """
    one = float(dp_accounting().get_sigma_gaussian(epsilon, delta))
    return rounded_up(sqrt(evaluations) * one * (1 + 1e-9))


def rounded_up(value: float) -> float:
    """The least number with four significant digits that is not below."""
    return float(_DIGITS.create_decimal(Decimal(value)))


def _by_renyi(mechanism: SampledGaussian, steps: int, epsilon: float) -> float | None:
    """About the smallest σ by Rényi divergences; for adjacency replace twice that of zero_out."""
    null = replace(mechanism, adjacency="zero_out")
    found = _smallest(
        lambda sigma: RenyiCurve(null, sigma).epsilon(steps) <= epsilon,
        start=1.0,
        close=1.002 if mechanism.accountant == "rdp" else 1.1,
    )
    return found if found is None or mechanism.adjacency == "zero_out" else 2 * found


def _smallest(holds: Callable[[float], bool], start: float, close: float) -> float | None:
    """A σ for which `holds` is true, at most `close` times the smallest one.

    It holds for all σ above the smallest. None: not even for `MOST_MULTIPLIER`. Never below
    `LEAST_MULTIPLIER`.
    """
    high, factor = max(start, LEAST_MULTIPLIER), 1.15
    while not holds(high):
        if high >= MOST_MULTIPLIER:
            return None
        high, factor = min(high * factor, MOST_MULTIPLIER), factor**2
    low, factor = max(high / 1.15, LEAST_MULTIPLIER), 1.15
    while holds(low):
        if low <= LEAST_MULTIPLIER:
            return low
        factor **= 2
        high, low = low, max(low / factor, LEAST_MULTIPLIER)
    while high / low > close:
        middle = sqrt(low * high)
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
