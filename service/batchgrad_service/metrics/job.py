"""One running job's newest figures, for Prometheus."""

from itertools import accumulate

from batchgrad.contract import (
    EXAMPLE_NORM_BOUNDS,
    FIGURES,
    Job,
    LayeredShortcut,
    StepRow,
    ValidationFigures,
)
from batchgrad.display.privacy import budget
from batchgrad_engine.messages import ClusterSeen, Report
from batchgrad_engine.step_columns import count_of, row_at

PHASES = ("shard", "compute", "reduce", "update", "compare", "checkpoint")


class NormCounts:
    """Per-example gradient norms, counted by engines into EXAMPLE_NORM_BOUNDS."""

    def __init__(self) -> None:
        self._counts = [0] * (len(EXAMPLE_NORM_BOUNDS) + 1)
        self.sum = 0.0

    def add(self, counts: list[int], norm_sum: float) -> None:
        """Add counts: one for each bound and one above the bounds, or an empty list.

        Raises:
            ValueError: the number of counts differs from the number of buckets.
        """
        if not counts:
            return
        if len(counts) != len(self._counts):
            raise ValueError(f"got {len(counts)} norm buckets, expected {len(self._counts)}.")
        self._counts = [a + b for a, b in zip(self._counts, counts, strict=True)]
        self.sum += norm_sum

    def buckets(self) -> list[tuple[str, float]]:
        """Return each upper bound as Prometheus writes it, with the number of norms up to it."""
        return list(zip(_BOUNDS, map(float, accumulate(self._counts)), strict=True))


_BOUNDS = (*(f"{bound:g}" for bound in EXAMPLE_NORM_BOUNDS), "+Inf")


class LiveJob:
    """Figures of a job since it began to run; `now` in Unix seconds."""

    def __init__(self, job: Job, now: float) -> None:
        self.name = job.name
        self.dataset = job.spec.dataset
        self.steps_planned = job.steps_planned
        self.step = job.step
        self.batch_size = None if job.spec.batch_size == "full" else job.spec.batch_size
        self.privacy = job.privacy
        self.clip_norm = None if job.spec.privacy is None else job.spec.privacy.clip_norm
        self.epsilon_spent = None if job.privacy is None else job.privacy.epsilon_spent
        self.privacy_budget = budget(job)
        self.checkpoint_interval = job.spec.checkpoint_interval_seconds
        self.checkpointed_at = now
        self.workers = 0
        self.cluster = ClusterSeen()
        self.examples = 0
        self.phase_seconds = dict.fromkeys(PHASES, 0.0)
        self.norms = NormCounts()
        self.figures: dict[str, float | None] = {}
        self.evaluation: ValidationFigures | None = None
        self.shortcuts: dict[str, LayeredShortcut] = {}

    def observe(self, report: Report) -> None:
        """Update the figures from a report of the job's engine."""
        seen = report.observed
        self.workers = report.workers if report.executor == "ray" else 0
        self.cluster = report.cluster
        self.examples += seen.examples
        self.norms.add(seen.norm_buckets, seen.norm_sum)
        for phase, seconds in report.phase_seconds():
            if phase in self.phase_seconds:
                self.phase_seconds[phase] += sum(seconds)
        if report.evaluations:
            self.evaluation = report.evaluations[-1]
        if report.steps:
            last = StepRow.model_validate(row_at(report.steps[-1], -1))
            if self.privacy is not None:
                self.epsilon_spent = last.epsilon
            elif self.batch_size is None:  # "full": all training examples, at every step
                self.batch_size = seen.examples // sum(map(count_of, report.steps))
            self.step = last.step
            self.figures = {name: getattr(last, name) for name in FIGURES}
            self.shortcuts = last.shortcuts
