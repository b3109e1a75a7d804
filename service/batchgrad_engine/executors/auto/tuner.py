"""Which plan is the fastest: each has a few steps in a row, in turns, and its best one counts."""

from collections import deque
from collections.abc import Sequence

from batchgrad_engine.executors.auto.configs import ParallelConfig, fastest

STEPS = 3
"""Steps in a row."""

TURNS = 3
"""What else the machine does hits all alike when they take turns."""


class Autotuner:
    """The best step of every plan so far, and whose turn is next."""

    def __init__(self, plans: Sequence[ParallelConfig]) -> None:
        """`plans` are for the engine alone; the first one is under way."""
        self.seconds: dict[ParallelConfig, float] = {}
        self._queue = deque([*plans] * TURNS if len(plans) > 1 else plans)
        self._turn: list[float] = []
        self._outdated: set[ParallelConfig] = set()

    def next(self) -> ParallelConfig | None:
        """Whose turn it is; None when all have had theirs."""
        self._turn = []
        return self._queue.popleft() if self._queue else None

    def note(self, plan: ParallelConfig, seconds: float) -> bool:
        """Take in a step of the plan whose turn it is; whether the turn is over."""
        self._turn.append(seconds)
        if len(self._turn) < STEPS:
            return False
        best = min(self._turn)
        if plan not in self._outdated:
            best = min(best, self.seconds.get(plan, best))
        self._outdated.discard(plan)
        self.seconds[plan] = best
        return True

    def challenge(self, plans: Sequence[ParallelConfig]) -> None:
        """Try plans with Ray, each in turns with the engine alone, whose time may have changed."""
        self.without_ray()
        alone = fastest(self.seconds)
        self._outdated = {alone}
        self._queue = deque(each for plan in plans for each in [plan, alone] * TURNS)

    def without_ray(self) -> None:
        """Forget what was measured with Ray, and try no more of it."""
        self._queue.clear()
        self.seconds = self.alone

    @property
    def alone(self) -> dict[ParallelConfig, float]:
        """What was measured without Ray."""
        return {plan: best for plan, best in self.seconds.items() if not plan.workers}
