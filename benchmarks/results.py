"""The results of a benchmark run."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.stored import Stored


@dataclass(frozen=True)
class Burst:
    """One contestant's turn in one round; `phases` (batchgrad only) are mean seconds a step."""

    steps: int
    seconds: float
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def step_seconds(self) -> float:
        """Mean seconds a step."""
        return self.seconds / self.steps


@dataclass(frozen=True)
class Measured:
    """A contestant's bursts, one for each round; peak memory is VmHWM, summed over processes."""

    title: str
    bursts: list[Burst]
    peak_bytes: int
    placement: str = ""


@dataclass(frozen=True)
class Comparison:
    """Contestants that ran alternately on one workload, by name."""

    workload: str
    group: str
    batch_size: int
    contestants: dict[str, Measured]


@dataclass(frozen=True)
class GrowthPoint:
    """Seconds a step at one value of a series' variable, one number for each burst."""

    series: str
    variable: str
    value: float
    step_seconds: list[float]


@dataclass(frozen=True)
class Results(Stored):
    """All results of a run."""

    machine: dict[str, Any]
    versions: dict[str, str]
    date: str
    rounds: int
    seconds: float
    comparisons: list[Comparison]
    growth: list[GrowthPoint] = field(default_factory=list)

    def find(self, workload: str, group: str) -> Comparison | None:
        """The comparison of this workload and group; None if it was not run."""
        return next(
            (c for c in self.comparisons if (c.workload, c.group) == (workload, group)), None
        )
