"""Collection of measured steps into reports: five a second at first, later one."""

from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from sys import float_info
from time import monotonic, perf_counter
from typing import Any, Literal

import numpy as np

from batchgrad.contract import EXAMPLE_NORM_BOUNDS
from batchgrad_engine.executors.protocol import Executor
from batchgrad_engine.measurement.measuring import Measured
from batchgrad_engine.messages import (
    Evaluated,
    Observed,
    Sent,
    SentReport,
    Warned,
)
from batchgrad_engine.step_columns import Columns, columns_of, cut, joined

FIRST_INTERVAL, LAST_INTERVAL = 0.2, 1.0
"""Seconds between reports at first and at last; in between, a tenth of the attempt's age.

Beside a job that fills the cache, it takes the service some 15 ms of CPU time to store a report.
"""

STEPS = 1000
"""Enough steps for a report before the interval ends, to keep it small."""

SPEED_SECONDS = 6.0
"""The time that the examples per second are averaged over, or that since the report before."""


class Reporter:
    """Collects figures, warnings and phase times; `flush` sends them as one report."""

    def __init__(
        self,
        send: Callable[[Sent], None],
        executor: Executor,
        *,
        private: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Of a `private` job, no speed is sent: it would tell how many examples were drawn."""
        self._send = send
        self._clock = clock
        self._private = private
        self._executor = executor
        self._began = self._sent_at = clock()
        self._speeds: deque[tuple[float, int]] = deque([(self._began, 0)])
        self._examples = 0
        self._warned_of: set[int] = set()
        self._warned_of_weightless = False
        self._clear()

    @property
    def due(self) -> bool:
        """True if the last report is old enough."""
        now = self._clock()
        interval = min(LAST_INTERVAL, (now - self._began) / 10) if self._step_count < STEPS else 0
        return now - self._sent_at >= max(FIRST_INTERVAL, interval)

    def add(self, measured: Measured) -> None:
        """Add measured steps."""
        now, clock = datetime.now(UTC), perf_counter()
        timed = []
        self._step_count += len(measured.watches)
        for watch in measured.watches:
            time = now - timedelta(seconds=clock - watch.last)
            if self._private:  # the time of a step tells how many rows it drew
                time = time.replace(microsecond=0)
            timed.append({"time": time, "phases": watch.phases})
        begin = 0
        for part in columns_of(timed):
            end = begin + len(part["time"])
            self._steps.append({**cut(measured.columns, slice(begin, end)), **part})
            begin = end
        if not self._private and measured.columns["loss"] is None:
            self._warn_of_weightless(measured.columns["step"][0])
        self._examples += measured.examples
        self._observed_examples += measured.examples
        self._norm_buckets += measured.histogram
        with np.errstate(over="ignore"):
            own = float(measured.norms.sum())
        self._norm_sum: float = min(self._norm_sum + own, float_info.max)  # JSON knows no infinity
        for step, dropped in measured.dropped:
            self._count_dropped(step, dropped)

    def _warn_of_weightless(self, step: int) -> None:
        if not self._warned_of_weightless:
            self._warned_of_weightless = True
            self.warn(
                step,
                f"Step {step}: all weights are 0, so there is no mean and no update; the step has "
                "no loss. Later steps of this kind give no warning.",
            )

    def evaluated(self, evaluation: Evaluated) -> None:
        """Add an evaluation to the next report."""
        self._evaluations.append(evaluation)

    def warn(self, step: int, detail: str, of: Literal["step", "evaluation"] = "step") -> None:
        """Add a warning about `step`, or about the evaluation after it, to the next report."""
        self._warnings.append(Warned(step=step, detail=detail, of=of))

    def state(self) -> dict[str, Any]:
        """Warnings already given, for a checkpoint: each is given once per job, not per attempt."""
        return {"examples": sorted(self._warned_of), "weightless": self._warned_of_weightless}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Continue from what `state` returned; older checkpoints hold None."""
        if state is not None:
            self._warned_of = set(state["examples"])
            self._warned_of_weightless = state["weightless"]

    def phase(self, phase: str, seconds: float) -> None:
        """Add a phase, no part of a step, that took `seconds`."""
        self._phases[phase].append(seconds)

    def flush(self) -> None:
        """Send a report of everything since the last one; nothing if there is nothing new."""
        if not (self._steps or self._evaluations or self._warnings or self._phases):
            return
        now = self._clock()
        self._speeds.append((now, self._examples))
        while now - self._speeds[1][0] > SPEED_SECONDS:
            self._speeds.popleft()
        (first_at, first), (last_at, last) = self._speeds[0], self._speeds[-1]
        traffic = self._executor.traffic()
        self._send(
            SentReport(
                workers=self._executor.workers,
                threads=self._executor.threads,
                executor=self._executor.kind,
                examples_per_second=None
                if self._private
                else (last - first) / max(last_at - first_at, 1e-9),
                steps=joined(self._steps),
                evaluations=self._evaluations,
                warnings=self._warnings,
                cluster=self._executor.cluster(),
                observed=Observed(
                    examples=self._observed_examples,
                    norm_buckets=self._norm_buckets.tolist(),
                    norm_sum=self._norm_sum,
                    other_phases=dict(self._phases),
                    nonfinite_examples=self._nonfinite,
                    bytes_in={way: n for (to, way), n in traffic.items() if to == "in"},
                    bytes_out={way: n for (to, way), n in traffic.items() if to == "out"},
                ),
            )
        )
        self._sent_at = now
        self._clear()

    def _count_dropped(self, step: int, dropped: list[int]) -> None:
        self._nonfinite += len(dropped)
        if new := [example for example in dropped if example not in self._warned_of]:
            self._warned_of.update(new)
            self.warn(
                step,
                f"Step {step}: left out {len(new)} example(s) whose loss or gradient is not "
                f"finite; first {new[:10]}. The job warns of each example once.",
            )

    def _clear(self) -> None:
        self._steps: list[Columns] = []
        self._step_count = 0
        self._evaluations: list[Evaluated] = []
        self._warnings: list[Warned] = []
        self._observed_examples = 0
        self._norm_buckets = np.zeros(len(EXAMPLE_NORM_BOUNDS) + 1, np.int64)
        self._norm_sum = 0.0
        self._phases: defaultdict[str, list[float]] = defaultdict(list)
        self._nonfinite = 0
