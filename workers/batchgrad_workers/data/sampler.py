"""Sample the examples of each step from (seed, step) alone, so that no index is ever sent."""

from functools import lru_cache
from math import ceil
from typing import NamedTuple

import numpy as np

from batchgrad_workers.arrays import Integers, Keys
from batchgrad_workers.data.split import Split
from batchgrad_workers.randomness import example_keys, generator


class Minibatch(NamedTuple):
    """The examples of a step: row numbers `ids` (n,), cut at `bounds` (M + 1,) into microbatches.

    `starts` (u,) are the first places in `ids` of the units that privacy protects; None if each
    example is a unit.
    """

    ids: Integers
    bounds: Integers
    starts: Integers | None = None

    @property
    def microbatches(self) -> int:
        """M."""
        return len(self.bounds) - 1

    def places(self, start: int, stop: int) -> slice:
        """The places in `ids` of the microbatches [start, stop)."""
        return slice(int(self.bounds[start]), int(self.bounds[stop]))

    def starts_in(self, places: slice) -> Integers | None:
        """The first places of the units of one microbatch, counted from its own first place."""
        if self.starts is None:
            return None
        inside = (self.starts >= places.start) & (self.starts < places.stop)
        return self.starts[inside] - places.start


@lru_cache(maxsize=8)  # a full minibatch and an epoch's last one, of some jobs
def _bounds(examples: int, microbatch_size: int) -> Integers:
    count = ceil(examples / microbatch_size)
    bounds = np.minimum(np.arange(count + 1) * microbatch_size, examples)
    bounds.flags.writeable = False
    return bounds


class Sampler:
    """Each epoch's permutation of the training rows.

    The last minibatch of an epoch is shorter if N does not divide the number of training examples.
    """

    def __init__(self, split: Split, *, seed: int, batch_size: int) -> None:
        """`batch_size` is N."""
        self.split = split
        self.training: Integers = split.training
        self.validation: Integers = split.validation
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
        return self._shuffled(epoch)[start : start + self.batch_size].astype(np.int64)

    def microbatches(self, microbatch_size: int) -> int:
        """M of a full minibatch."""
        return ceil(self.batch_size / microbatch_size)

    def draw(self, step: int, microbatch_size: int) -> Minibatch:
        """The minibatch, in microbatches of this size; the last one may be shorter."""
        ids = self.minibatch(step)
        return Minibatch(ids, _bounds(len(ids), microbatch_size))

    def keys(self, step: int, ids: Integers) -> Keys:
        """Keys (n,) by which dropout draws for these examples at step number `step`."""
        return example_keys(self._seed, step, ids)

    def _shuffle(self, epoch: int) -> Integers:
        return generator(self._seed, "shuffle", epoch).permutation(self.training)
