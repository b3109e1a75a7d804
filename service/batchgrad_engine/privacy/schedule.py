"""ε over the steps of a private job, on a grid of steps."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class EpsilonSchedule:
    """`epsilons[i]` is what `steps[i]` charged steps spend, at the job's δ.

    Steps ascend and begin at 1 or later; ε never falls. Between two steps of the grid, the next one
    bounds ε from above.
    """

    steps: tuple[int, ...]
    epsilons: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.steps or len(self.steps) != len(self.epsilons):
            raise ValueError(
                f"got {len(self.steps)} steps and {len(self.epsilons)} values of epsilon: a "
                "schedule has one value for each step, and at least one step."
            )
        if self.steps[0] < 1 or any(a >= b for a, b in pairwise(self.steps)):
            raise ValueError(f"steps {_short(self.steps)} must be 1 or more, and ascend.")
        if not self.epsilons[0] > 0 or not all(a <= b for a, b in pairwise(self.epsilons)):
            raise ValueError(f"epsilons {_short(self.epsilons)} must be above 0, and never fall.")

    @property
    def last_step(self) -> int:
        """The most steps whose ε is known."""
        return self.steps[-1]

    def at(self, steps: int) -> float:
        """An upper bound on the ε of this many charged steps.

        Raises:
            ValueError: the grid ends before.
        """
        if steps <= 0:
            return 0.0
        if steps > self.last_step:
            raise ValueError(
                f"{steps} steps were charged, but epsilon is known for {self.last_step} steps at "
                "most: the job must stop before."
            )
        return self.epsilons[bisect_left(self.steps, steps)]

    def within(self, epsilon: float) -> "EpsilonSchedule":
        """The part that spends no more than ε; it has a step."""
        count = bisect_right(self.epsilons, epsilon)
        return EpsilonSchedule(self.steps[:count], self.epsilons[:count])

    def most_steps(self, epsilon: float) -> int:
        """The most charged steps that are known to stay within ε; 0 if none."""
        count = bisect_right(self.epsilons, epsilon)
        return self.steps[count - 1] if count else 0


def _short(values: Sequence[float]) -> str:
    """The values, or the first of many."""
    return f"{list(values[:8])}{' …' if len(values) > 8 else ''}"
