"""Medians with their spread, and ratios computed round by round."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.results import Comparison, Measured


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest value over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value."""
        if not values:
            raise ValueError("No rounds were measured: there is no median of nothing.")
        return cls(median(values), min(values), max(values))


def step_seconds(measured: Measured) -> Spread:
    """Seconds a step."""
    return Spread.of([burst.step_seconds for burst in measured.bursts])


def times_as_fast(comparison: Comparison, name: str, other: str) -> Spread:
    """Speed of `name` relative to `other`: the step time of `other` over that of `name`, by round.

    Contestants of one round ran within seconds of each other, so what slowed the machine down
    slowed both.
    """
    ours, theirs = comparison.contestants[name], comparison.contestants[other]
    return Spread.of(
        [b.step_seconds / a.step_seconds for a, b in zip(ours.bursts, theirs.bursts, strict=True)]
    )


def fastest(comparison: Comparison, names: Sequence[str]) -> str:
    """The contestant among `names` with the smallest median step time."""
    return min(names, key=lambda name: step_seconds(comparison.contestants[name]).median)
