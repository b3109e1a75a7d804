"""Weights of examples: the example's own weight times its class's weight, scaled for sums.

A weighted mean depends on the ratios of its weights alone. So weights are divided by a power of
two that puts the largest weight into [1, 2): the largest of the dataset if all weights are within
2^SPREAD of each other, else of the minibatch. This changes no digit, and sums neither overflow nor
underflow at any scale. A row of weight 0 is no example: `present` leaves it out.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Floats, Integers

Exponents = npt.NDArray[np.integer[Any]]

ONES = 1 << 13
"""Length of a prepared array of ones, which saves most microbatches an allocation."""

CHUNK = 1 << 18
SPREAD = 60
"""Weights within 2^60 of each other share one exponent: float32 holds the scaled weights."""


class Weights:
    """w_n of a dataset's rows: the product of `own` (n,) and `classes` (classes,), if given."""

    def __init__(
        self,
        own: npt.NDArray[Any] | None,
        classes: Array | None,
        targets: npt.NDArray[Any] | None,
        dtype: Any = np.float64,
    ) -> None:
        """`targets` (n,), needed with `classes`, are their numbers; scaled weights have `dtype`."""
        self._own = own
        self._classes = None if classes is None else np.frexp(classes.astype(np.float64))
        self._targets = targets
        self._rows = next((len(array) for array in (own, targets) if array is not None), 0)
        self._dtype = np.dtype(dtype)
        self._ones = np.ones(ONES, dtype)
        self._present, self._exponent = self._scan() if self.given else (None, 0)

    @property
    def given(self) -> bool:
        """True if examples may have different weights."""
        return self._own is not None or self._classes is not None

    @property
    def present(self) -> Integers | None:
        """The rows with a weight above 0, ascending; None if that is all rows."""
        return self._present

    @property
    def one_exponent(self) -> bool:
        """Whether any rows have the same exponent."""
        return self._exponent is not None

    def exponent(self, ids: Integers) -> int:
        """The exponent e for a minibatch of these rows: every weight is below 2^(e+1)."""
        if self._exponent is not None:
            return self._exponent
        mantissas, exponents = self._parts(ids)
        positive = exponents[mantissas > 0]
        return int(positive.max()) - 1 if len(positive) else 0

    def scaled(self, ids: Integers, exponent: int) -> Array:
        """w_n / 2^exponent (n,), rounded to the dtype; the caller must not write to it."""
        if not self.given:
            return self._ones[: len(ids)] if len(ids) <= ONES else np.ones(len(ids), self._dtype)
        mantissas, exponents = self._parts(ids)
        return np.ldexp(mantissas, exponents - exponent).astype(self._dtype)

    def exact(self, ids: Integers) -> Floats:
        """w_n (n,), float64; the largest float64 if the product overflows."""
        if not self.given:
            return np.ones(len(ids))
        with np.errstate(over="ignore"):
            return np.minimum(np.ldexp(*self._parts(ids)), np.finfo(np.float64).max)

    def _parts(self, ids: Integers) -> tuple[Floats, Exponents]:
        """w_n as mantissa · 2^exponent, mantissas in [½, 1) or 0, so that no product overflows."""
        factors = []
        if self._own is not None:
            factors.append(np.frexp(self._own.take(ids).astype(np.float64)))
        if self._classes is not None and self._targets is not None:
            classes = self._targets.take(ids)
            factors.append((self._classes[0].take(classes), self._classes[1].take(classes)))
        (mantissas, exponents), *others = factors
        for mantissa, exponent in others:
            mantissas, carried = np.frexp(mantissas * mantissa)
            exponents = exponents + exponent + carried
        return mantissas, exponents

    def _scan(self) -> tuple[Integers | None, int | None]:
        """The rows that are present, and the exponent for all minibatches if one suffices."""
        rows, found, seen = self._rows, [], set[int]()
        for start in range(0, rows, CHUNK):
            ids = np.arange(start, min(start + CHUNK, rows))
            mantissas, exponents = self._parts(ids)
            positive = mantissas > 0
            found.append(ids[positive])
            seen.update(np.unique(exponents[positive]).tolist())
        present = np.concatenate(found)
        alike = bool(seen) and max(seen) - min(seen) <= SPREAD
        return None if len(present) == rows else present, max(seen) - 1 if alike else None


def scaled(weights: Floats) -> tuple[Floats, int]:
    """Weights (n,) divided by 2^e, with the largest in [1, 2), and e; unchanged if all are 0."""
    exponent = int(np.frexp(weights.max())[1]) - 1 if weights.any() else 0
    return np.ldexp(weights, -exponent), exponent
