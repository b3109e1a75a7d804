"""How a contestant's process is asked to run: one JSON object a line on its pipes.

It prepares, warms up, and says `{"ready": true, "versions": {…}}`. Each line `{"seconds": s}` asks
for steps during s seconds and is answered by `{"steps": …, "seconds": …}`. It ends when its stdin
does. Between bursts it sleeps in a read, so that only one contestant computes at a time.
"""

import json
import os
import sys
from collections.abc import Callable
from time import perf_counter

WARM_SECONDS = 0.2
SLOW_SECONDS = 0.5
"""Steps as long as this need no warming up again: caches are nothing to them."""


class Bursts:
    """Runs `step` for a while on demand; `forget` lets go of what a step left in memory."""

    def __init__(
        self,
        step: Callable[[], None],
        *,
        forget: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._step, self._forget, self._clock = step, forget, clock
        self._last_seconds = 0.0

    def run(self, seconds: float) -> tuple[int, float]:
        """Steps done after a short warm-up, at least one, and the seconds they took."""
        if self._last_seconds < SLOW_SECONDS:
            self._steps(min(WARM_SECONDS, seconds))
        steps, took = self._steps(seconds)
        self._last_seconds = took / steps
        self._forget()
        return steps, took

    def _steps(self, seconds: float) -> tuple[int, float]:
        started = self._clock()
        steps, took = 0, 0.0
        while not steps or took < seconds:
            self._step()
            steps += 1
            took = self._clock() - started
        return steps, took


def serve(run: Callable[[float], tuple[int, float]], versions: dict[str, str]) -> None:
    """Warm up, then answer requests until stdin ends; whatever prints goes to stderr."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as answers:
        os.dup2(2, 1)
        run(WARM_SECONDS)
        print(json.dumps({"ready": True, "versions": versions}), file=answers)
        for line in sys.stdin:
            steps, seconds = run(float(json.loads(line)["seconds"]))
            print(json.dumps({"steps": steps, "seconds": seconds}), file=answers)
