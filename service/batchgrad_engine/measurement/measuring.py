"""All that is measured of a step and does not feed back into training, for several steps at once.

A small model's step is over in a fraction of a millisecond, most of which would be Python's and
numpy's cost of each call. So steps wait here, as far as memory allows, and are measured together;
figures have the same bits however many steps wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from batchgrad.contract import ShortcutName
from batchgrad_engine.measurement.buffer import Columns, MeasurementBuffer, Step
from batchgrad_engine.measurement.comparison import Comparison
from batchgrad_engine.measurement.shortcut_evaluator import ShortcutEvaluator
from batchgrad_engine.measurement.statistics import (
    LargestNorm,
    NormTest,
    SmoothedNoise,
    histograms,
    largest,
    noise_scales,
    norm_test,
    quantiles,
)
from batchgrad_engine.step import Minibatch, Stopwatch
from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.data.dataset import Examples
from batchgrad_workers.digests import checksums

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
    weight: float
    learning_rate: float
    gradient_norm: float
    noise_scale: float | None
    norm_test: NormTest
    gradient_checksum: str
    norms: Norms
    shortcuts: dict[ShortcutName, Comparison]
    workers: int


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
    norms: Floats
    histogram: npt.NDArray[np.int64]
    dropped: list[tuple[int, list[int]]]


class Measurements:
    """Takes steps, measures them when enough of them wait, and keeps what was measured."""

    def __init__(
        self,
        averaging: ShortcutEvaluator,
        examples: Examples,
        *,
        batch_size: int,
        step_bytes: int,
        together: int,
    ) -> None:
        """`step_bytes` is what a step holds while it waits; at most `together` of them wait.

        With 0 nothing is measured at all. `batch_size` is N of a full minibatch.
        """
        self._batch_size = batch_size
        self.noise = SmoothedNoise()
        self._averaging = averaging
        self._examples = examples
        self._together = min(together, max(1, WAITING_BYTES // step_bytes))
        self._waiting = MeasurementBuffer(self._together)
        self._measured: list[Measured] = []

    def take(self, step: Step, minibatch: Minibatch, parameters: Array) -> None:
        """Let `step` wait, with θ (P,) before its update; arrays may change once this returns."""
        if not self._together:
            return
        if not self._waiting.takes(minibatch):
            self._measure()
        self._waiting.add(step, minibatch, parameters)
        if self._waiting.full:
            self._measure()

    def measured(self, *, also_waiting: bool = True) -> list[Measured]:
        """All steps since the last call, in order; or only what is measured already."""
        if also_waiting and self._waiting:
            self._measure()
        measured, self._measured = self._measured, []
        return measured

    def _measure(self) -> None:
        clock = Stopwatch()
        steps, of = self._waiting.clear()
        norms = of.norms
        ordered = np.sort(norms, axis=1)
        weights = self._examples.weights(of.ids.reshape(-1)).reshape(of.ids.shape)
        counts = histograms(norms)
        columns = zip(
            steps,
            noise_scales(norms, weights, [step.gradient_norm for step in steps]),
            quantiles(ordered),
            counts.tolist(),
            largest(of.ids, norms, ordered),
            checksums(of.gradients),
            self._compare(steps, of),
            _totals(weights),
            strict=True,
        )
        figures: list[Figures] = [
            {
                "step": step.number,
                "epoch": step.epoch,
                "loss": step.loss,
                "weight": weight,
                "learning_rate": step.learning_rate,
                "gradient_norm": step.gradient_norm,
                "noise_scale": self.noise.add(noise, of.ids.shape[1] / self._batch_size).simple,
                "norm_test": norm_test(noise.trace, of.ids.shape[1], step.gradient_norm),
                "gradient_checksum": fingerprint,
                "norms": {"quantiles": among, "histogram": histogram, "largest": most},
                "shortcuts": shortcuts,
                "workers": step.workers,
            }
            for step, noise, among, histogram, most, fingerprint, shortcuts, weight in columns
        ]
        self._measured.append(
            Measured(
                figures=figures,
                watches=[step.watch for step in steps],
                examples=sum(step.examples for step in steps),
                ids=of.ids.reshape(-1),
                losses=of.losses.reshape(-1),
                norms=norms.reshape(-1),
                histogram=counts.sum(axis=0),
                dropped=[(step.number, step.dropped) for step in steps if step.dropped],
            )
        )
        clock.share([step.watch for step in steps], "compare")

    def _compare(self, steps: Sequence[Step], of: Columns) -> list[dict[ShortcutName, Comparison]]:
        if steps[0].loss is None:
            return [{} for _ in steps]
        return self._averaging.compare(
            of.gradients, of.parameters, of.means, of.microbatch_means, of.totals
        )


def _totals(weights: npt.NDArray[np.float64]) -> list[float]:
    """Σ w_n of each step (s, n); what is beyond float64 becomes its largest number."""
    with np.errstate(over="ignore"):
        return np.minimum(weights.sum(axis=1), np.finfo(np.float64).max).tolist()
