"""The protocol between the benchmark and a contestant's process: JSON lines over stdin and stdout.

The process prepares, warms up, and prints `{"ready": true, "versions": {…}}`. Each request
`{"seconds": s}` runs steps for s seconds; the answer is `{"steps": …, "seconds": …}`. The process
ends when its stdin closes. Between bursts it blocks in a read, so only one contestant computes.
"""

import json
import os
import sys
from collections.abc import Callable
from time import perf_counter

WARM_SECONDS = 0.2
SLOW_SECONDS = 0.5
"""Longer steps are not warmed up again: the state of caches hardly changes their time."""


class Bursts:
    """Run `step` repeatedly for a given time; then `forget` frees what the step keeps in memory."""

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
        """Warm up briefly, then run steps: the number of steps (at least 1) and their seconds."""
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


def serve(
    run: Callable[[float], tuple[int, float]], versions: dict[str, str], base_bytes: int = 0
) -> None:
    """Warm up, then answer requests until stdin ends; other output goes to stderr.

    `base_bytes` is the memory that the process holds before; its peak is told without it.
    """
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as answers:
        os.dup2(2, 1)
        run(WARM_SECONDS)
        ready = {"ready": True, "versions": versions, "base_bytes": base_bytes}
        print(json.dumps(ready), file=answers)
        for line in sys.stdin:
            steps, seconds = run(float(json.loads(line)["seconds"]))
            print(json.dumps({"steps": steps, "seconds": seconds}), file=answers)
