"""Poisson sampling: each unit is in a minibatch by itself, with probability q = N / n.

A unit is a training row, or all training rows of one person. Microbatches are blocks of training
rows, not of sampled ones: their number is fixed, a unit changes one of them only, and a worker
reads the same rows at every step.
"""

from fractions import Fraction
from math import ceil, floor

import numpy as np

from batchgrad_workers.arrays import Integers
from batchgrad_workers.data.sampler import Minibatch, Sampler
from batchgrad_workers.data.split import Split
from batchgrad_workers.privacy.chacha import words


class PoissonSampler(Sampler):
    """Draws by a secret key; an epoch is as many steps as without privacy."""

    def __init__(
        self,
        split: Split,
        *,
        seed: int,
        batch_size: int,
        key: bytes,
        units: Integers | None = None,
    ) -> None:
        """`units` (rows of the dataset,) are numbers of units; None: each row is one."""
        super().__init__(split, seed=seed, batch_size=batch_size)
        self._key = key
        rows = len(self.training)
        if units is None:
            self._rows, self._starts, self._counts = self.training, None, None
            self.units = rows
        else:
            of_rows = units[self.training]
            self._rows = self.training[np.argsort(of_rows, kind="stable")]
            _, starts, counts = np.unique(np.sort(of_rows), return_index=True, return_counts=True)
            self._starts, self._counts = starts, counts
            self.units = len(starts)
        self.rate = Fraction(self.batch_size, max(rows, 1))
        self._threshold = floor(self.rate * 2**64)

    def microbatches(self, microbatch_size: int) -> int:
        """M, from the training rows alone."""
        return poisson_microbatches(len(self._rows), self.batch_size, microbatch_size)

    def minibatch(self, step: int) -> Integers:
        return self.draw(step, 1).ids

    def draw(self, step: int, microbatch_size: int) -> Minibatch:
        """The minibatch, perhaps empty; a microbatch has `microbatch_size` examples on average."""
        drawn = self._drawn(step)
        block = _block(self.rate, microbatch_size)
        edges = np.arange(self.microbatches(microbatch_size) + 1) * block
        if self._starts is None or self._counts is None:
            ids = self._rows[drawn].astype(np.int64)
            return Minibatch(ids, np.searchsorted(drawn, edges))
        firsts, counts = self._starts[drawn], self._counts[drawn]
        ends = np.concatenate([[0], np.cumsum(counts)])
        places = np.arange(ends[-1]) + np.repeat(firsts - ends[:-1], counts)
        bounds = ends[np.searchsorted(firsts, edges)]
        return Minibatch(self._rows[places].astype(np.int64), bounds, ends[:-1])

    def _drawn(self, step: int) -> Integers:
        """The numbers of the units in a minibatch, ascending."""
        if self._threshold >= 2**64:
            return np.arange(self.units)
        return np.flatnonzero(words(self._key, step, 0, self.units) < np.uint64(self._threshold))


def poisson_microbatches(training_rows: int, batch_size: int, microbatch_size: int) -> int:
    """M: blocks of the training rows that give `microbatch_size` sampled ones on average."""
    return ceil(
        training_rows / _block(Fraction(batch_size, max(training_rows, 1)), microbatch_size)
    )


def _block(rate: Fraction, microbatch_size: int) -> int:
    """R: as many training rows as give `microbatch_size` sampled ones, rounded up."""
    return ceil(microbatch_size / rate)
