"""The noise of a private step: from sums of clipped gradients to a private mean gradient.

A sum S with sensitivity C becomes g · (round(S/g) + Z), where Z is a discrete Gaussian on the
integers with deviation 2³⁰ and g = 2⁻³⁰ · s, s = σ C r, where r covers what rounding adds to the
sensitivity. Noise goes on sums, once; the mean divides by N, a constant of
the spec, never by the size of the minibatch that was drawn.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil, exp, isnan, log, log2, sqrt

import numpy as np
import numpy.typing as npt

from batchgrad.contract import LossReport, Precision, Privacy
from batchgrad_engine.privacy.budget_split import (
    count_multiplier,
    gradient_multiplier,
    loss_multiplier,
)
from batchgrad_engine.vectors import BLOCK, parallel_for
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels.noise import noisy_mean
from batchgrad_workers.nn.kernels.norms import norm
from batchgrad_workers.privacy.gaussian import SIGMA_BITS, discrete_gaussian
from batchgrad_workers.privacy.keys import Purpose
from batchgrad_workers.reduction.clipping import CLIPPED_LOSS, UNCLIPPED
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.threads import ThreadPool

LEAF_ROUNDING = 2.0**-8
"""What rounding within one microbatch adds to the sensitivity of a sum, in units of C."""

QUANTILE = 0.5
"""Part of the units whose gradient is shorter than C, towards which `clipping: quantile` goes."""

QUANTILE_RATE = 0.2
"""η: C is multiplied by exp(-η · error of the quantile) (Andrew et al. 2021, section 3.1)."""

Noise = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Release:
    """What a step makes known: G̃ (P,), ‖G̃‖, and the noisy mean loss if the job reports one."""

    gradient: Array
    gradient_norm: float
    loss: float | None


def rounding(batch_size: int, microbatches: int, precision: Precision) -> float:
    """Sensitivity r of a sum in floating point, in units of that of the exact sum.

    A unit changes one of M microbatches, so that log₂ M sums of the tree round otherwise, each by
    at most half a unit in the last place of the sum, which is at most C times the number of units.
    """
    most = batch_size + 8 * sqrt(batch_size)  # more are drawn once in 10¹⁵ steps
    ulp = float(np.finfo(precision).eps)
    return 1 + LEAF_ROUNDING + ceil(log2(max(microbatches, 1))) * ulp * most


def grain(deviation: float) -> float:
    """The step g between noisy sums whose noise has this deviation."""
    return deviation * 2.0**-SIGMA_BITS


def noisy_number(total: float, deviation: float, noise: int) -> float:
    """A sum in float64 with noise: g · (round(total/g) + Z)."""
    step = grain(deviation * (1 + LEAF_ROUNDING))
    return step * float(round(total / step) + noise)


class Mechanism:
    """Draws each step's noise in the background, and adds it to the step's sums."""

    def __init__(
        self,
        privacy: Privacy,
        *,
        noise_multiplier: float,
        keys: Callable[[Purpose], bytes],
        size: int,
        batch_size: int,
        units: float,
        rounding: float,
        pool: ThreadPool,
    ) -> None:
        """`size` is P, `batch_size` N, `units` the expected number of units in a minibatch.

        `rounding` is r.
        """
        self._rounding = rounding
        self._privacy = privacy
        self._sigma = noise_multiplier
        self._keys = keys
        self._size = size
        self._batch_size = batch_size
        self._units = units
        self._pool = pool
        self._background = ThreadPoolExecutor(1, "noise")
        self._drawn: tuple[int, Future[Noise]] = (-1, Future())
        self.clip_norm = privacy.clip_norm

    def draw(self, step: int) -> None:
        """Begin to draw the noise of a step."""
        self._drawn = step, self._background.submit(self._noise, step)

    def release(self, step: int, sums: GradientSums, drawn: int) -> Release:
        """The private mean gradient of a step, from the sums over its `drawn` units.

        C of the next step follows the quantile, if the job clips so.
        """
        number, noise = self._drawn
        if number != step:
            raise ValueError(f"the noise drawn is that of step {number}, not of step {step}")
        multiplier = gradient_multiplier(self._privacy, self._sigma)
        deviation = multiplier * self.clip_norm * self._rounding
        gradient, length = self._noisy_mean(sums.gradient, noise.result(), grain(deviation))
        loss = self._loss(step, float(sums.totals[CLIPPED_LOSS]))
        if self._privacy.clipping == "quantile":
            self._follow_quantile(step, float(sums.totals[UNCLIPPED]), drawn)
        return Release(gradient, length, loss)

    def close(self) -> None:
        """End the background thread."""
        self._background.shutdown()

    def _noise(self, step: int) -> Noise:
        return discrete_gaussian(self._keys("noise"), step, self._size)

    def _noisy_mean(self, total: Array, noise: Noise, step: float) -> tuple[Array, float]:
        """G̃ (P,) = g · (round(S/g) + Z) / N, and ‖G̃‖."""
        gradient = np.empty_like(total)
        squares = np.zeros(-(-len(total) // BLOCK))

        def work(block: slice) -> None:
            own = squares[block.start // BLOCK :]
            noisy_mean(total[block], noise[block], step, self._batch_size, gradient[block], own)

        parallel_for(self._pool, len(total), work)
        found = sum(squares.tolist())
        return gradient, norm(gradient) if isnan(found) else sqrt(found)

    def _loss(self, step: int, total: float) -> float | None:
        report = self._privacy.report
        if not isinstance(report, LossReport):
            return None
        deviation = loss_multiplier(self._privacy, self._sigma) * report.loss_bound
        return noisy_number(total, deviation, self._one("loss", step)) / self._batch_size

    def _follow_quantile(self, step: int, unclipped: float, drawn: int) -> None:
        """C follows the noisy part of unclipped units; each unit counts ± ½, so half as much."""
        deviation = count_multiplier(self._privacy, self._sigma) * 0.5
        centred = noisy_number(unclipped - drawn / 2, deviation, self._one("quantile", step))
        part = min(max(centred / self._units + 0.5, 0.0), 1.0)
        moved = self.clip_norm * exp(-QUANTILE_RATE * (part - QUANTILE))
        self.clip_norm = exp(min(max(log(moved), -60.0), 60.0))

    def _one(self, purpose: Purpose, step: int) -> int:
        return int(discrete_gaussian(self._keys(purpose), step, 1)[0])


def noisy_count(count: float, deviation: float, key: bytes, step: int) -> float:
    """A number of right answers, of which each example changes one, with noise."""
    return noisy_number(count, deviation, int(discrete_gaussian(key, step, 1)[0]))
