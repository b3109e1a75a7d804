"""Time configurations on the job's own steps: each runs a few steps per turn; its best counts."""

from collections import deque
from collections.abc import Sequence

from batchgrad_engine.executors.auto.configs import ParallelConfig, fastest

STEPS_PER_TURN = 3

TURNS = 3
"""How often each configuration is measured. They alternate, so that other load of the machine
slows all of them."""


class Autotuner:
    """The best step time of every configuration so far, and the queue of those to measure."""

    def __init__(self, configs: Sequence[ParallelConfig]) -> None:
        """`configs` are for the engine alone."""
        self.seconds: dict[ParallelConfig, float] = {}
        self._queue = deque([*configs] * TURNS if len(configs) > 1 else configs)
        self._turn: list[float] = []
        self._outdated: set[ParallelConfig] = set()

    def next_config(self) -> ParallelConfig | None:
        """Begin the next turn: its configuration, or None if all are measured."""
        self._turn = []
        return self._queue.popleft() if self._queue else None

    def record(self, config: ParallelConfig, seconds: float) -> bool:
        """Record the time of a step; returns whether the turn of its configuration is over."""
        self._turn.append(seconds)
        if len(self._turn) < STEPS_PER_TURN:
            return False
        best = min(self._turn)
        if config not in self._outdated:
            best = min(best, self.seconds.get(config, best))
        self._outdated.discard(config)
        self.seconds[config] = best
        return True

    def queue_ray(self, configs: Sequence[ParallelConfig]) -> None:
        """Measure configurations with Ray; each alternates with the engine alone, measured anew."""
        self.drop_ray()
        inline = fastest(self.seconds)
        self._outdated = {inline}
        self._queue = deque(each for config in configs for each in [config, inline] * TURNS)

    def drop_ray(self) -> None:
        """Forget what was measured with Ray, and measure no more of it."""
        self._queue.clear()
        self.seconds = self.inline_seconds

    @property
    def inline_seconds(self) -> dict[ParallelConfig, float]:
        """The best step times without Ray."""
        return {config: best for config, best in self.seconds.items() if not config.workers}
