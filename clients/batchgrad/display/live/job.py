"""Show a job's progress on stderr: a live display on a terminal, lines elsewhere."""

import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from batchgrad.contract import TERMINAL, Job
from batchgrad.display import privacy
from batchgrad.display.live.display import LiveDisplay
from batchgrad.display.numbers import learned, place


class JobDisplay(LiveDisplay):
    """Shows a job while it changes; a context manager, fed by `update`.

    Without a terminal it writes nothing, or with `lines_every_epochs` or `lines_every_seconds` a
    line at each change of the status and at these intervals.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        lines_every_epochs: int | None = None,
        lines_every_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream)
        self._lines_every_epochs = lines_every_epochs
        self._lines_every_seconds = lines_every_seconds
        self._clock = clock
        self._started = clock()
        self._shown: tuple[str, int] | None = None

    def update(self, job: Job) -> None:
        """Show the current state of the job."""
        if self._live is not None:
            self._live.update(drawn(job), refresh=job.status in TERMINAL)
            return
        if self._lines_every_epochs is not None:
            turn = job.epoch // self._lines_every_epochs
        elif self._lines_every_seconds is not None:
            turn = int((self._clock() - self._started) // self._lines_every_seconds)
        else:
            return
        if (job.status, turn) != self._shown:
            self._shown = (job.status, turn)
            print(line(job), file=self._stream, flush=True)


def drawn(job: Job) -> RenderableType:
    """The live display: a progress bar, then the figures."""
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(job.name, style="bold"),
        Text(job.status, style=_style(job)),
        ProgressBar(total=max(job.steps_planned, 1), completed=job.step, width=36),
        Text(f"step {job.step}/{job.steps_planned}  epoch {job.epoch}"),
    )
    figures = Table.grid(padding=(0, 2))
    for name, value in _figures(job):
        figures.add_row(Text(name, style="dim"), Text(value))
    return Group(head, figures)


def line(job: Job) -> str:
    """The state of a job in one line."""
    figures = "  ".join(f"{name} {value}" for name, value in _figures(job))
    at = f"epoch {job.epoch:>3}  step {job.step}/{job.steps_planned}"
    return f"{job.status:<9}  {at}  {figures}".rstrip()


def _figures(job: Job) -> list[tuple[str, str]]:
    waits = [("waits", job.queued_because)] if job.queued_because and job.status == "queued" else []
    spent, where = privacy.spent(job), place(job)
    return [
        *waits,
        *([("privacy", spent)] if spent else []),
        *learned(job),
        *([("runs on", where)] if where else []),
    ]


def _style(job: Job) -> str:
    return {"succeeded": "green", "failed": "red", "cancelled": "yellow"}.get(job.status, "cyan")
