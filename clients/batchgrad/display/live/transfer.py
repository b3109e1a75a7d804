"""Show on stderr how far a file is sent and read: a bar on a terminal, nothing elsewhere."""

import sys
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from batchgrad.display.numbers import size

_STAGES = {"hash": "checking", "send": "sending", "read": "reading"}


class TransferDisplay:
    """Shows the progress that `Client.put_dataset` tells; a context manager, fed by `update`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        self._progress = Progress(
            TextColumn("{task.description}", style="bold"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeRemainingColumn(),
            console=Console(file=stream, highlight=False, emoji=False),
            transient=True,
            disable=not stream.isatty(),
        )
        self._task = self._progress.add_task("", total=None, amount="")
        self._stage = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, stage: str, done: int, total: int | None) -> None:
        """Show `done` of `total` bytes, or rows while the service reads."""
        if stage != self._stage:
            self._stage = stage
            self._progress.reset(self._task, description=_STAGES.get(stage, stage))
        amount = _rows(done, total) if stage == "read" else f"{size(done)} of {size(total or 0)}"
        self._progress.update(self._task, completed=done, total=total, amount=amount)


def _rows(done: int, total: int | None) -> str:
    return f"{done:,} rows" if total is None else f"{done:,} of {total:,} rows"
