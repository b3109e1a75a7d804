"""What a run found."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.stored import Stored


@dataclass(frozen=True)
class Burst:
    """One contestant's turn in one round; `phases` are mean seconds a step, ours alone."""

    steps: int
    seconds: float
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def step_seconds(self) -> float:
        """Seconds a step."""
        return self.seconds / self.steps


@dataclass(frozen=True)
class Measured:
    """A contestant's turns, one a round; peak memory of its processes together (VmHWM)."""

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
    """One step's seconds at one place of a series, a burst each."""

    series: str
    variable: str
    value: float
    step_seconds: list[float]


@dataclass(frozen=True)
class Results(Stored):
    """A whole run."""

    machine: dict[str, Any]
    versions: dict[str, str]
    date: str
    rounds: int
    seconds: float
    comparisons: list[Comparison]
    growth: list[GrowthPoint] = field(default_factory=list)

    def find(self, workload: str, group: str) -> Comparison | None:
        """The comparison of this workload and group, if it was run."""
        return next(
            (c for c in self.comparisons if (c.workload, c.group) == (workload, group)), None
        )
