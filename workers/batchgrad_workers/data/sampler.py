"""Sample the examples of each step from (seed, step) alone, so that no index is ever sent."""

from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

import numpy as np

from batchgrad_workers.arrays import Integers
from batchgrad_workers.randomness import generator


class Sampler:
    """The split into training and validation rows, and each epoch's permutation.

    Validation is the first ⌊f·n⌋ of one permutation; every epoch has its own permutation of the
    training rows. If only some rows are `present`, the split ignores the others. The last
    minibatch of an epoch is shorter if N does not divide the number of training examples.
    """

    def __init__(
        self,
        *,
        seed: int,
        examples: int,
        validation_fraction: float,
        batch_size: int,
        present: Integers | None = None,
    ) -> None:
        """Split `examples` rows, or those `present` (ascending row numbers); `batch_size` is N."""
        rows = np.arange(examples) if present is None else present
        permutation = rows[generator(seed, "split").permutation(len(rows))]
        held_out = floor(Fraction(str(validation_fraction)) * len(rows))  # 0.29 of 100 is 29
        self.validation: Integers = np.sort(permutation[:held_out])
        self.training: Integers = np.sort(permutation[held_out:])
        self.examples = examples
        self.present = present
        self.batch_size = min(batch_size, max(len(self.training), 1))
        self.steps_per_epoch = max(1, ceil(len(self.training) / self.batch_size))
        self._seed = seed
        self._shuffled = lru_cache(maxsize=1)(self._shuffle)

    def epoch(self, step: int) -> int:
        """The epoch of step number `step`, both from 0."""
        return step // self.steps_per_epoch

    def minibatch(self, step: int) -> Integers:
        """Row numbers (N,) of the examples of step number `step`, from 0."""
        epoch, index = divmod(step, self.steps_per_epoch)
        start = index * self.batch_size
        return self._shuffled(epoch)[start : start + self.batch_size]

    def _shuffle(self, epoch: int) -> Integers:
        return generator(self._seed, "shuffle", epoch).permutation(self.training)
