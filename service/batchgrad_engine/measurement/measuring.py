"""Measure steps: every figure that does not feed back into training, for several steps at once.

A small model's step takes a fraction of a millisecond, and Python's and numpy's cost per call
would be most of it. So steps are buffered, as far as memory allows, and measured together. The
figures have the same bits for any number of buffered steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from batchgrad.contract import FIGURES, MeasuredStep, ShortcutName
from batchgrad_engine.measurement.buffer import Arrays, MeasurementBuffer, Step
from batchgrad_engine.measurement.shortcut_evaluator import ShortcutEvaluator
from batchgrad_engine.measurement.statistics import (
    SmoothedNoise,
    histograms,
    largest,
    noise_scales,
    norm_test,
    quantiles,
)
from batchgrad_engine.step_columns import Columns, RowView, column_tree
from batchgrad_engine.step_results import MinibatchResult, Stopwatch
from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.data.examples import Examples
from batchgrad_workers.digests import checksums

BUFFER_BYTES = 8 << 20
"""Most bytes of buffered steps; more would not stay in the processor's cache."""

MAX_BUFFERED_STEPS = 64
"""Most steps in the buffer; more give no speed."""


@dataclass(frozen=True)
class Measured:
    """Consecutive steps: rows by columns, stopwatches, and the values of all their examples.

    `columns` are those of `StepRow`, without times and phases.
    `ids`, `losses` and `norms` (s·n,) are step after step; `dropped` lists step numbers with the
    examples that were left out.
    """

    columns: Columns
    watches: list[Stopwatch]
    examples: int
    ids: Integers
    losses: Array
    norms: Floats
    histogram: npt.NDArray[np.int64]
    dropped: list[tuple[int, list[int]]]


class Measurements:
    """Buffers steps, measures them when the buffer is full, and keeps the results."""

    def __init__(
        self,
        evaluator: ShortcutEvaluator,
        examples: Examples,
        *,
        batch_size: int,
        step_bytes: int,
        buffered_steps: int,
    ) -> None:
        """Buffer at most `buffered_steps` steps of `step_bytes` each; with 0, measure nothing.

        `batch_size` is N of a full minibatch.
        """
        self._batch_size = batch_size
        self.noise = SmoothedNoise()
        self._evaluator = evaluator
        self._examples = examples
        self._buffered_steps = min(buffered_steps, max(1, BUFFER_BYTES // step_bytes))
        self._buffer = MeasurementBuffer(self._buffered_steps)
        self._measured: list[Measured] = []

    def take(self, step: Step, minibatch: MinibatchResult, parameters: Array) -> None:
        """Buffer `step`, with θ (P,) before its update; arrays may change once this returns."""
        if not self._buffered_steps:
            return
        if not self._buffer.fits(minibatch):
            self._measure()
        self._buffer.add(step, minibatch, parameters)
        if self._buffer.full:
            self._measure()

    def measured(self, *, include_pending: bool = True) -> list[Measured]:
        """Steps measured since the last call, in order; `include_pending` measures the buffer."""
        if include_pending and self._buffer:
            self._measure()
        measured, self._measured = self._measured, []
        return measured

    def _measure(self) -> None:
        clock = Stopwatch()
        steps, arrays = self._buffer.drain()
        norms = arrays.norms
        ordered = np.sort(norms, axis=1)
        weights = self._examples.weights(arrays.ids.reshape(-1)).reshape(arrays.ids.shape)
        counts = histograms(norms)
        shortcuts = self._compare(steps, arrays)
        known_steps = self._known(steps, arrays, weights, shortcuts)
        tests = (norm_test(each.trace, norms.shape[1], each.gradient_norm) for each in known_steps)
        columns: Columns = {
            "step": tuple(step.number for step in steps),
            "epoch": tuple(step.epoch for step in steps),
            "weight": tuple(each.weight for each in known_steps),
            "norm_test": column_tree(list(tests)),
            "gradient_checksum": tuple(checksums(arrays.gradients)),
            "norms": {
                "quantiles": quantiles(ordered),
                "histogram": [tuple(count) for count in counts.T.tolist()],
                "largest": largest(arrays.ids, norms, ordered),
            },
            "shortcuts": shortcuts,
            "workers": tuple(step.workers for step in steps),
        }
        for name, figure in FIGURES.items():
            columns[name] = column_tree([figure.function(each) for each in known_steps])
        self._measured.append(
            Measured(
                columns=columns,
                watches=[step.watch for step in steps],
                examples=sum(step.examples for step in steps),
                ids=arrays.ids.reshape(-1),
                losses=arrays.losses.reshape(-1),
                norms=norms.reshape(-1),
                histogram=counts.sum(axis=0),
                dropped=[(step.number, step.dropped) for step in steps if step.dropped],
            )
        )
        clock.lap_evenly([step.watch for step in steps], "compare")

    def _known(
        self,
        steps: Sequence[Step],
        arrays: Arrays,
        weights: Floats,
        shortcuts: Mapping[ShortcutName, Columns],
    ) -> list[MeasuredStep]:
        """What the figures of each step are functions of."""
        part = arrays.ids.shape[1] / self._batch_size
        return [
            MeasuredStep(
                loss=step.loss,
                weight=weight,
                learning_rate=step.learning_rate,
                gradient_norm=step.gradient_norm,
                trace=noise.trace,
                signal=noise.signal,
                noise_scale=self.noise.add(noise, part).simple,
                norms=norms,
                gradient=gradient,
                parameters=parameters,
                shortcuts=RowView(shortcuts, place),
            )
            for place, (step, noise, weight, norms, gradient, parameters) in enumerate(
                zip(
                    steps,
                    noise_scales(arrays.norms, weights, [step.gradient_norm for step in steps]),
                    _totals(weights),
                    arrays.norms,
                    arrays.gradients,
                    arrays.parameters,
                    strict=True,
                )
            )
        ]

    def _compare(self, steps: Sequence[Step], arrays: Arrays) -> dict[ShortcutName, Columns]:
        if steps[0].loss is None:
            return {}
        return self._evaluator.compare(
            arrays.gradients,
            arrays.parameters,
            arrays.means,
            arrays.microbatch_means,
            arrays.totals,
        )


def _totals(weights: npt.NDArray[np.float64]) -> list[float]:
    """Σ w_n of each step, from w (s, n); float64's largest number if the sum overflows."""
    with np.errstate(over="ignore"):
        return np.minimum(weights.sum(axis=1), np.finfo(np.float64).max).tolist()
