"""Standardize inputs by each input element's mean and standard deviation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Floats, Integers
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
        """Compute them in three passes over `inputs[rows]`; a constant's deviation becomes 1.

        Sums are over u = (x - least) / 2^e, with e such that u is in [0, 1). So a mean that is
        many deviations from 0 costs no digits, and squares neither overflow nor underflow.
        Integers beyond 2^53 are rounded to float64 first, as they are for the network.
        """
        chunks = [rows[start : start + chunk] for start in range(0, len(rows), chunk)]
        least = np.full(inputs.shape[1:], np.inf)
        most = np.full(inputs.shape[1:], -np.inf)
        for ids in chunks:
            part = inputs[ids].astype(np.float64)
            np.minimum(least, part.min(axis=0), out=least)
            np.maximum(most, part.max(axis=0), out=most)
        with np.errstate(over="ignore", invalid="ignore"):
            _, exponent = np.frexp(most - least)
            mean, variance = np.zeros(inputs.shape[1:]), np.zeros(inputs.shape[1:])
            for ids in chunks:
                mean += _scaled(inputs[ids], least, exponent).sum(axis=0)
            mean /= len(rows)
            for ids in chunks:
                variance += np.square(_scaled(inputs[ids], least, exponent) - mean).sum(axis=0)
            deviation = np.ldexp(np.sqrt(variance / len(rows)), exponent)
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
