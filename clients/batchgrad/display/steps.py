"""A table of steps, written line by line, since there may be many."""

from batchgrad.contract import FIGURES, StepRow
from batchgrad.display.numbers import number
from batchgrad.display.privacy import upper

COLUMN_WIDTH = 10


class StepTable:
    """The figures of each step, and the gaps of the shortcuts that the first step has.

    Of a private job, the figures that its first step has, and epsilon.
    """

    def __init__(self, first: StepRow) -> None:
        private = first.norms is None
        self._shortcuts = list(first.shortcuts)
        self._figures = [
            name for name in FIGURES if not private or getattr(first, name) is not None
        ]
        self._figures += ["epsilon"] if private else []
        labels = (name.replace("_", " ") for name in self._figures)
        self._names = ["step", "epoch", *labels, *(f"gap of {name}" for name in self._shortcuts)]

    def heading(self) -> str:
        """The names of the columns."""
        return self._aligned(self._names)

    def line(self, row: StepRow) -> str:
        """A step under these names."""
        figures = [
            (upper if name == "epsilon" else number)(getattr(row, name)) for name in self._figures
        ]
        shortcuts = map(row.shortcuts.get, self._shortcuts)
        gaps = [number(None if one is None else one.relative_error) for one in shortcuts]
        return self._aligned([str(row.step), str(row.epoch), *figures, *gaps])

    def _aligned(self, texts: list[str]) -> str:
        widths = (max(len(name), COLUMN_WIDTH) for name in self._names)
        return "  ".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))
