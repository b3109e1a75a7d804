"""Steps that wait to be measured together: what is known of each, and its arrays in one block."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from batchgrad_engine.step import Minibatch, Stopwatch
from batchgrad_workers.arrays import Array, Floats, Integers


class Step(NamedTuple):
    """A step, numbered from 1, and what came of it; `Minibatch` explains the rest."""

    number: int
    epoch: int
    learning_rate: float
    workers: int
    watch: Stopwatch
    examples: int
    loss: float | None
    gradient_norm: float
    dropped: list[int]


class Columns(NamedTuple):
    """The steps' arrays, (s, …): of the minibatch, θ before the update, and `GradientSums`."""

    ids: Integers
    losses: Array
    norms: Floats
    gradients: Array
    parameters: Array
    means: Array
    microbatch_means: Array
    totals: npt.NDArray[np.float64]


class MeasurementBuffer:
    """Up to `room` steps whose arrays have the same shapes."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._steps: list[Step] = []
        self._columns: Sequence[npt.NDArray[Any]] = ()

    def __bool__(self) -> bool:
        return bool(self._steps)

    @property
    def full(self) -> bool:
        """Whether there is room for no other step."""
        return len(self._steps) >= self._room

    def takes(self, minibatch: Minibatch) -> bool:
        """Whether its arrays fit beside the others, and both have a loss or neither has."""
        if not self._steps:
            return True
        known = self._steps[0].loss is None, self._columns[0].shape[1]
        return known == (minibatch.loss is None, len(minibatch.ids))

    def add(self, step: Step, minibatch: Minibatch, parameters: Array) -> None:
        """One more; its arrays are copied, unless it is the only one there is room for."""
        sums = minibatch.sums
        arrays = (
            minibatch.ids,
            minibatch.losses,
            minibatch.norms,
            minibatch.gradient,
            parameters,
            sums.means,
            sums.microbatch_means,
            sums.totals,
        )
        if self._room == 1:
            self._columns = [array[None] for array in arrays]
        else:
            if not self._steps:
                self._columns = [np.empty((self._room, *a.shape), a.dtype) for a in arrays]
            place = len(self._steps)
            for column, array in zip(self._columns, arrays, strict=True):
                column[place] = array
        self._steps.append(step)

    def clear(self) -> tuple[list[Step], Columns]:
        """All of them, in order; nobody waits any more."""
        steps, self._steps = self._steps, []
        return steps, Columns(*(column[: len(steps)] for column in self._columns))
