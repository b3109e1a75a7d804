"""A display that a terminal redraws, and lines elsewhere."""

import sys
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live


class LiveDisplay:
    """A context manager; `_live` is None where the stream is no terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
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

    def note(self, text: str) -> None:
        """Write a line, above the live display if there is one."""
        if self._live is not None:
            self._live.console.print(text)
        else:
            print(text, file=self._stream, flush=True)
