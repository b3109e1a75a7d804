"""All that is measured of a step and does not feed back into training, for several steps at once.

A small model's step is over in a fraction of a millisecond, most of which would be Python's and
numpy's cost of each call. So steps wait here, as far as memory allows, and are measured together;
figures have the same bits however many steps wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from batchgrad.contract import ShortcutName
from batchgrad_service.engine.averaging import Averaging
from batchgrad_service.engine.comparison import Comparison
from batchgrad_service.engine.stacked import stack
from batchgrad_service.engine.statistics import (
    LargestNorm,
    NormTest,
    SmoothedNoise,
    histograms,
    largest,
    noise_scales,
    norm_test,
    quantiles,
)
from batchgrad_service.engine.step_report import Minibatch, Stopwatch
from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.dataset import Examples
from batchgrad_workers.digests import checksum
from batchgrad_workers.gradients import GradientSums

WAITING_BYTES = 8 << 20
"""How much steps may hold while they wait; more would leave the processor's cache meanwhile."""

MOST_TOGETHER = 64
"""How many steps may wait: more of them gain nothing."""


class Norms(TypedDict):
    """‖g_n‖ of one step."""

    quantiles: dict[str, float]
    histogram: list[int]
    largest: list[LargestNorm]


class Figures(TypedDict):
    """What is measured of one step; a `StepRow` also has its time and phases."""

    step: int
    epoch: int
    loss: float | None
    learning_rate: float
    gradient_norm: float
    noise_scale: float | None
    norm_test: NormTest
    gradient_checksum: str
    norms: Norms
    shortcuts: dict[ShortcutName, Comparison]
    workers: int


class Step(NamedTuple):
    """A step, numbered from 1, that waits: its minibatch, and θ before the update (P,)."""

    number: int
    epoch: int
    learning_rate: float
    workers: int
    minibatch: Minibatch
    parameters: Array
    watch: Stopwatch


@dataclass(frozen=True)
class Measured:
    """Some steps in a row: each one's figures and watch, and what each of their examples did.

    `ids`, `losses` and `norms` (s·n,) are step after step; `dropped` are step numbers with the
    examples that were left out.
    """

    figures: list[Figures]
    watches: list[Stopwatch]
    examples: int
    ids: Integers
    losses: Array
    norms: Array
    histogram: npt.NDArray[np.int64]
    dropped: list[tuple[int, list[int]]]


class Measurements:
    """Takes steps, measures them when enough of them wait, and keeps what was measured."""

    def __init__(
        self, averaging: Averaging, examples: Examples, *, step_bytes: int, together: int
    ) -> None:
        """`step_bytes` is what a step holds while it waits; at most `together` of them wait.

        With 0 nothing is measured at all.
        """
        self.noise = SmoothedNoise()
        self._averaging = averaging
        self._examples = examples
        self._together = min(together, max(1, WAITING_BYTES // step_bytes))
        self._waiting: list[Step] = []
        self._measured: list[Measured] = []

    def take(self, step: Step) -> None:
        """Let `step` wait; its arrays may change once this returns."""
        if not self._together:
            return
        if self._waiting and not _alike(self._waiting[0].minibatch, step.minibatch):
            self._measure()
        if self._together > 1:
            step = _kept(step)
        self._waiting.append(step)
        if len(self._waiting) == self._together:
            self._measure()

    def measured(self) -> list[Measured]:
        """All steps since the last call, in order."""
        if self._waiting:
            self._measure()
        measured, self._measured = self._measured, []
        return measured

    def _measure(self) -> None:
        clock = Stopwatch()
        steps, self._waiting = self._waiting, []
        minibatches = [step.minibatch for step in steps]
        ids = stack([each.ids for each in minibatches])
        squared_norms = stack([each.squared_norms for each in minibatches])
        norms = np.sqrt(squared_norms)
        ordered = np.sort(norms, axis=1)
        squares = [each.squared_norm for each in minibatches]
        weights = self._examples.weights(ids.reshape(-1)).reshape(ids.shape)
        counts = histograms(norms)
        columns = zip(
            steps,
            noise_scales(squared_norms, weights, squares),
            quantiles(ordered),
            counts.tolist(),
            largest(ids, norms, ordered),
            self._compare(steps),
            strict=True,
        )
        figures: list[Figures] = [
            {
                "step": step.number,
                "epoch": step.epoch,
                "loss": step.minibatch.loss,
                "learning_rate": step.learning_rate,
                "gradient_norm": sqrt(step.minibatch.squared_norm),
                "noise_scale": self.noise.add(noise).simple,
                "norm_test": norm_test(noise.trace, ids.shape[1], step.minibatch.squared_norm),
                "gradient_checksum": checksum(step.minibatch.gradient),
                "norms": {"quantiles": among, "histogram": histogram, "largest": most},
                "shortcuts": shortcuts,
                "workers": step.workers,
            }
            for step, noise, among, histogram, most, shortcuts in columns
        ]
        self._measured.append(
            Measured(
                figures=figures,
                watches=[step.watch for step in steps],
                examples=sum(each.examples for each in minibatches),
                ids=ids.reshape(-1),
                losses=stack([each.losses for each in minibatches]).reshape(-1),
                norms=norms.reshape(-1),
                histogram=counts.sum(axis=0),
                dropped=[(step.number, of) for step in steps if (of := step.minibatch.dropped)],
            )
        )
        clock.share([step.watch for step in steps], "compare")

    def _compare(self, steps: Sequence[Step]) -> list[dict[ShortcutName, Comparison]]:
        minibatches = [step.minibatch for step in steps]
        if minibatches[0].loss is None:
            return [{} for _ in steps]
        sums = [each.sums for each in minibatches]
        return self._averaging.compare(
            stack([each.gradient for each in minibatches]),
            stack([step.parameters for step in steps]),
            stack([each.means for each in sums]),
            stack([each.microbatch_means for each in sums]),
            stack([each.totals for each in sums]),
        )


def _alike(first: Minibatch, other: Minibatch) -> bool:
    """Whether their arrays have the same shapes, and both have a loss or neither has."""
    return len(first.ids) == len(other.ids) and (first.loss is None) == (other.loss is None)


def _kept(step: Step) -> Step:
    """The same in memory of its own, without the sum whose mean it has."""
    sums = step.minibatch.sums
    own = GradientSums(
        sums.gradient[:0], sums.totals.copy(), sums.microbatch_means.copy(), sums.means.copy()
    )
    return step._replace(
        minibatch=step.minibatch._replace(sums=own), parameters=step.parameters.copy()
    )
