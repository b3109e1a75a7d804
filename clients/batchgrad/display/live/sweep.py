"""The jobs of a sweep: live on a terminal, a line for each end elsewhere."""

from collections.abc import Sequence
from typing import TextIO

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from batchgrad.contract import TERMINAL, Job
from batchgrad.display.live.display import LiveDisplay
from batchgrad.display.numbers import learned
from batchgrad.display.tables import columns

MOST_ROWS = 15


class SweepDisplay(LiveDisplay):
    """Shows jobs while they change; a context manager, fed by `update`."""

    def __init__(self, keys: Sequence[str], stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._keys = keys
        self._ended: set[str] = set()

    def update(self, jobs: Sequence[Job]) -> None:
        """Show the current states of the jobs."""
        if self._live is not None:
            self._live.update(self._drawn([job for job in jobs if job.status not in TERMINAL]))
        for job in jobs:
            if job.status in TERMINAL and job.id not in self._ended:
                self._ended.add(job.id)
                self.note(f"{len(self._ended)} of {len(jobs)} ended: {self._line(job)}")

    def _line(self, job: Job) -> str:
        row = columns.values(job)
        values = [f"{key} {columns.cell(key, row)}" for key in self._keys]
        figures = [f"{name} {value}" for name, value in learned(job) if "loss" in name]
        return "  ".join([job.id, *values, job.status, *figures])

    def _drawn(self, jobs: Sequence[Job]) -> RenderableType:
        """The jobs that have not ended: the first MOST_ROWS, and how many more there are."""
        drawn = Table.grid(padding=(0, 1))
        for job in jobs[:MOST_ROWS]:
            drawn.add_row(
                ProgressBar(total=max(job.steps_planned, 1), completed=job.step, width=24),
                Text(self._line(job)),
            )
        if len(jobs) > MOST_ROWS:
            drawn.add_row(Text(""), Text(f"and {len(jobs) - MOST_ROWS} more"))
        return drawn
