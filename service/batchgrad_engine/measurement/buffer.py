"""A buffer of steps that are measured together: each step's values, and all arrays in one block."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from batchgrad_engine.step_results import MinibatchResult, Stopwatch
from batchgrad_workers.arrays import Array, Floats, Integers


class Step(NamedTuple):
    """One step, numbered from 1, and its results; `MinibatchResult` explains the rest."""

    number: int
    epoch: int
    learning_rate: float
    workers: int
    watch: Stopwatch
    examples: int
    loss: float | None
    gradient_norm: float
    dropped: list[int]


class Arrays(NamedTuple):
    """Arrays (s, …) of s steps: the minibatch's, θ before the update, and its `GradientSums`."""

    ids: Integers
    losses: Array
    norms: Floats
    gradients: Array
    parameters: Array
    means: Array
    microbatch_means: Array
    totals: npt.NDArray[np.float64]


class MeasurementBuffer:
    """At most `capacity` steps whose arrays have the same shapes."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._steps: list[Step] = []
        self._columns: Sequence[npt.NDArray[Any]] = ()

    def __bool__(self) -> bool:
        return bool(self._steps)

    @property
    def full(self) -> bool:
        """True if the buffer takes no other step."""
        return len(self._steps) >= self._capacity

    def fits(self, minibatch: MinibatchResult) -> bool:
        """True if its arrays have the others' shapes, and both have a loss or neither has."""
        if not self._steps:
            return True
        known = self._steps[0].loss is None, self._columns[0].shape[1]
        return known == (minibatch.loss is None, len(minibatch.ids))

    def add(self, step: Step, minibatch: MinibatchResult, parameters: Array) -> None:
        """Add a step; its arrays are copied, unless the capacity is 1."""
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
        if self._capacity == 1:
            self._columns = [array[None] for array in arrays]
        else:
            if not self._steps:
                self._columns = [np.empty((self._capacity, *a.shape), a.dtype) for a in arrays]
            row = len(self._steps)
            for column, array in zip(self._columns, arrays, strict=True):
                column[row] = array
        self._steps.append(step)

    def drain(self) -> tuple[list[Step], Arrays]:
        """Remove all steps and return them, in order, with their arrays."""
        steps, self._steps = self._steps, []
        return steps, Arrays(*(column[: len(steps)] for column in self._columns))
