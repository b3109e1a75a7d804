"""Reduce steps to buckets on a fixed grid: of each figure sum, count, minimum and maximum.

Bucket b of width w holds the steps b·w + 1 … (b + 1)·w. Widths are powers of two, and sums are
those of a binary tree over the steps. So two neighbouring buckets merge to exactly the bucket of
twice the width, whoever merges them and when: static/history.js does it too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from batchgrad_service.store.step_blocks.columns import Numbers

MOST_BUCKETS = 512
SUM, COUNT, LOW, HIGH = range(4)
EMPTY = np.array([[0.0], [0.0], [np.nan], [np.nan]])
"""Of a bucket in which no row has the figure."""


def width_of(last: int, buckets: int = MOST_BUCKETS) -> int:
    """Return the smallest width with which at most `buckets` buckets cover the steps to `last`."""
    return 1 << max(-(-last // buckets) - 1, 0).bit_length()


@dataclass(frozen=True)
class Buckets:
    """The buckets that have rows, ascending: `index` (B,), and by figure (4, B).

    The four are SUM, COUNT, LOW and HIGH. The figure `step` is the number of the step itself.
    """

    width: int
    index: Numbers
    figures: Mapping[str, Numbers]

    @staticmethod
    def of_rows(columns: Mapping[str, Numbers]) -> "Buckets":
        """Return buckets of width 1; `columns` (rows,) have nan where a row lacks the figure."""
        known = {name: ~np.isnan(values) for name, values in columns.items()}
        figures = {
            name: np.stack([np.where(known[name], values, 0.0), known[name], values, values])
            for name, values in columns.items()
        }
        return Buckets(1, columns["step"].astype(np.int64) - 1, figures)

    @staticmethod
    def joined(parts: list["Buckets"], width: int) -> "Buckets":
        """Return the buckets of several parts, in order, all of the same width."""
        index = np.concatenate([np.zeros(0, np.int64), *(part.index for part in parts)])
        names = dict.fromkeys(name for part in parts for name in part.figures)
        figures = {
            name: np.concatenate(
                [
                    part.figures.get(name, np.repeat(EMPTY, len(part.index), axis=1))
                    for part in parts
                ],
                axis=1,
            )
            for name in names
        }
        return Buckets(width, index, figures)

    def widened(self, width: int) -> "Buckets":
        """Return the buckets of a width that is a larger power of two."""
        found = self
        while found.width < width:
            found = found._merged()
        return found

    def within(self, begin: int, end: int) -> "Buckets":
        """Return the buckets from step `begin`, a multiple of the width, to that of step `end`."""
        ends = [begin // self.width, -(-end // self.width)]
        kept = slice(*np.searchsorted(self.index, ends))
        figures = {name: values[:, kept] for name, values in self.figures.items()}
        return Buckets(self.width, self.index[kept], figures)

    def _merged(self) -> "Buckets":
        index = self.index >> 1
        second = np.flatnonzero(index[1:] == index[:-1]) + 1
        kept = np.ones(len(index), bool)
        kept[second] = False
        merge = np.cumsum(kept)[second] - 1
        figures = {}
        for name, values in self.figures.items():
            made = values[:, kept]
            more = values[:, second]
            made[:LOW, merge] += more[:LOW]
            made[LOW, merge] = np.fmin(made[LOW, merge], more[LOW])
            made[HIGH, merge] = np.fmax(made[HIGH, merge], more[HIGH])
            figures[name] = made
        return Buckets(2 * self.width, index[kept], figures)
