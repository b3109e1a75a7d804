"""Which examples a step sees: from (seed, step) alone, so no index ever travels."""

from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

import numpy as np

from batchgrad_workers.arrays import Integers
from batchgrad_workers.randomness import generator


class Sampler:
    """The split into training and validation, and the order of the training examples.

    Validation is the first ⌊f·n⌋ of one permutation; every epoch has a permutation of its own.
    Where only some rows are `present`, they alone are counted, permuted and split, as if the
    dataset had no others.
    The last minibatch of an epoch is shorter when N does not divide the training examples.
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
        """Split `examples` row numbers, or those `present`, ascending; `batch_size` is N."""
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
        """The epoch, from 0, that step number `step`, from 0, belongs to."""
        return step // self.steps_per_epoch

    def minibatch(self, step: int) -> Integers:
        """Row numbers (N,) of the examples of step number `step`, from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self.batch_size
        return self._shuffled(epoch)[start : start + self.batch_size]

    def _shuffle(self, epoch: int) -> Integers:
        return generator(self._seed, "shuffle", epoch).permutation(self.training)
