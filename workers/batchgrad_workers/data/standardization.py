"""Standardize inputs by each input element's mean and standard deviation."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Floats, Integers, Shape
from batchgrad_workers.nn.kernels.standardization import standardize


@dataclass(frozen=True)
class Standardization:
    """Mean and deviation of each input element over the training rows, float64, input shape.

    Every row counts the same, whatever its weight; rows of weight 0 are left out.
    """

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, inputs: npt.NDArray[Any], rows: Integers, chunk: int = 4096) -> "Standardization":
        """Compute them over `inputs[rows]`; see `over`."""

        def chunks() -> Iterator[npt.NDArray[Any]]:
            for start in range(0, len(rows), chunk):
                yield inputs[rows[start : start + chunk]]

        return cls.over(chunks, inputs.shape[1:])

    @classmethod
    def over(
        cls, chunks: Callable[[], Iterable[npt.NDArray[Any]]], shape: Shape
    ) -> "Standardization":
        """Compute them in three passes over chunks (n, *shape); a constant's deviation becomes 1.

        Sums are over u = (x - least) / 2^e, with e such that u is in [0, 1). So a mean that is
        many deviations from 0 costs no digits, and squares neither overflow nor underflow.
        Integers beyond 2^53 are rounded to float64 first, as they are for the network. NaN are
        left out; the mean of nothing but NaN becomes 0.
        """
        least, most, count = np.full(shape, np.inf), np.full(shape, -np.inf), np.zeros(shape)
        for part in chunks():
            numbers = part.astype(np.float64)
            np.fmin(least, np.fmin.reduce(numbers, axis=0), out=least)
            np.fmax(most, np.fmax.reduce(numbers, axis=0), out=most)
            count += (~np.isnan(numbers)).sum(axis=0)
        least, most = np.where(count > 0, least, 0.0), np.where(count > 0, most, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            _, exponent = np.frexp(most - least)
            mean, variance = np.zeros(shape), np.zeros(shape)
            count = np.maximum(count, 1)
            for part in chunks():
                mean += _without_nan(_scaled(part, least, exponent)).sum(axis=0)
            mean /= count
            for part in chunks():
                off = _without_nan(_scaled(part, least, exponent) - mean)
                variance += np.square(off).sum(axis=0)
            deviation = np.ldexp(np.sqrt(variance / count), exponent)
            return cls(
                np.where(most > least, least + np.ldexp(mean, exponent), least),
                np.where(deviation > 0, deviation, 1.0),
            )

    @property
    def is_finite(self) -> bool:
        """True if all means and deviations are finite."""
        return bool(np.isfinite(self.mean).all() and np.isfinite(self.deviation).all())

    def apply(self, inputs: npt.NDArray[Any], dtype: Any) -> Array:
        """(x - mean) / deviation of inputs (n, …): in float64, then rounded to `dtype`."""
        if inputs.dtype not in (np.float32, np.float64):
            inputs = inputs.astype(np.float64)
        scaled = np.empty(inputs.shape, dtype)
        rows = len(inputs)
        standardize(
            inputs.reshape(rows, -1),
            self.mean.reshape(-1),
            self.deviation.reshape(-1),
            scaled.reshape(rows, -1),
        )
        return scaled


def _scaled(inputs: npt.NDArray[Any], least: Floats, exponent: npt.NDArray[np.intc]) -> Floats:
    """(x - least) / 2^exponent."""
    return np.ldexp(inputs - least, -exponent)


def _without_nan(numbers: Floats) -> Floats:
    """The numbers with 0 for NaN."""
    return np.where(np.isnan(numbers), 0.0, numbers)
