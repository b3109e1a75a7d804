"""The jobs of a sweep: live on a terminal, a line for each end elsewhere, and sorted at the end."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from batchgrad.contract import TERMINAL, VALIDATION_FIGURES, Job
from batchgrad.display.numbers import learned
from batchgrad.display.tables import columns

MOST_ROWS = 15
FIGURES = (*VALIDATION_FIGURES, "loss")


class SweepDisplay:
    """Shows jobs while they change; a context manager, fed by `update`."""

    def __init__(self, keys: Sequence[str], stream: TextIO | None = None) -> None:
        self._keys = keys
        self._stream = stream or sys.stderr
        self._ended: set[str] = set()
        self._live: Live | None = None
        if self._stream.isatty():
            console = Console(file=self._stream, markup=False, highlight=False, emoji=False)
            self._live = Live(console=console, refresh_per_second=8)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, jobs: Sequence[Job]) -> None:
        """Show the current states of the jobs."""
        if self._live is not None:
            self._live.update(self._drawn([job for job in jobs if job.status not in TERMINAL]))
        for job in jobs:
            if job.status in TERMINAL and job.id not in self._ended:
                self._ended.add(job.id)
                self.note(f"{len(self._ended)} of {len(jobs)} ended: {self._line(job)}")

    def note(self, text: str) -> None:
        """Write a line, above the live display if there is one."""
        if self._live is not None:
            self._live.console.print(text)
        else:
            print(text, file=self._stream, flush=True)

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


def result(job: Job, keys: Sequence[str]) -> dict[str, Any]:
    """What a sweep shows of a job; its validation figures are of the parameters that it keeps."""
    row = columns.values(job)
    kept = job.best or job
    shown = ("id", "name", *keys, "status", "reason", "step", "steps_planned", "loss")
    figures: dict[str, Any] = {name: getattr(kept, name) for name in VALIDATION_FIGURES}
    return {**{name: row.get(name) for name in shown}, **figures}


def best_first(jobs: Sequence[Job], keys: Sequence[str]) -> tuple[str, list[dict[str, Any]]]:
    """The figure that decides, and the results sorted by it; jobs that failed are last.

    It is the figure by which the jobs keep their best parameters, else the validation loss, else
    the last step's loss.
    """
    rows = [result(job, keys) for job in jobs]
    chosen = {job.spec.best_by for job in jobs} - {None}
    metric = (chosen.pop() if len(chosen) == 1 else None) or "validation_loss"
    figure, descending = str(metric), VALIDATION_FIGURES[metric].higher_is_better
    if all(row[figure] is None for row in rows):
        figure, descending = "loss", False
    order = columns.ordered(rows, figure, descending=descending)
    order.sort(key=lambda index: jobs[index].status != "succeeded")
    return figure, [rows[index] for index in order]
