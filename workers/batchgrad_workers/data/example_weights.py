"""Weights of examples: each example's own times its class's, in float64, scaled for use.

A weighted mean depends on the ratios of its weights alone. So weights are divided by a power of two
that puts the largest into [1, 2), the dataset's where all are within 2^SPREAD of each other, else
the minibatch's: no digit changes, and whatever the scale, sums neither overflow nor vanish.
A row of weight 0 is no row: `present` leaves it out.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Floats, Integers

Exponents = npt.NDArray[np.integer[Any]]

ONES = 1 << 13
"""Weights of 1 that are kept ready, for as many examples: one call less for most microbatches."""

CHUNK = 1 << 18
SPREAD = 60
"""Weights within 2^60 of each other are all divided by one power of two: float32 holds them."""


class Weights:
    """w_n of a dataset's rows; `own` (n,) or None, `classes` (classes,) or None multiply."""

    def __init__(
        self,
        own: npt.NDArray[Any] | None,
        classes: Array | None,
        targets: npt.NDArray[Any],
        dtype: Any = np.float64,
    ) -> None:
        """`targets` (n,) are classes if `classes` is given; scaled weights are of `dtype`."""
        self._own = own
        self._classes = None if classes is None else np.frexp(classes.astype(np.float64))
        self._targets = targets
        self._dtype = np.dtype(dtype)
        self._ones = np.ones(ONES, dtype)
        self._present, self._exponent = self._look() if self.given else (None, 0)

    @property
    def given(self) -> bool:
        """Whether examples may weigh differently at all."""
        return self._own is not None or self._classes is not None

    @property
    def present(self) -> Integers | None:
        """The rows whose weight is above 0, ascending; None where that is all of them."""
        return self._present

    def exponent(self, ids: Integers) -> int:
        """The exponent e for a minibatch of these rows: none weighs 2^(e+1) or more."""
        if self._exponent is not None:
            return self._exponent
        mantissas, exponents = self._parts(ids)
        there = exponents[mantissas > 0]
        return int(there.max()) - 1 if len(there) else 0

    def scaled(self, ids: Integers, exponent: int) -> Array:
        """w_n / 2^exponent (n,), rounded to the dtype; not to be written to."""
        if not self.given:
            return self._ones[: len(ids)] if len(ids) <= ONES else np.ones(len(ids), self._dtype)
        mantissas, exponents = self._parts(ids)
        return np.ldexp(mantissas, exponents - exponent).astype(self._dtype)

    def exact(self, ids: Integers) -> Floats:
        """w_n (n,), float64; a product beyond float64 becomes its largest number."""
        if not self.given:
            return np.ones(len(ids))
        with np.errstate(over="ignore"):
            return np.minimum(np.ldexp(*self._parts(ids)), np.finfo(np.float64).max)

    def _parts(self, ids: Integers) -> tuple[Floats, Exponents]:
        """w_n as mantissa · 2^exponent, mantissas in [½, 1) or 0: so no product overflows."""
        factors = []
        if self._own is not None:
            factors.append(np.frexp(self._own.take(ids).astype(np.float64)))
        if self._classes is not None:
            classes = self._targets.take(ids)
            factors.append((self._classes[0].take(classes), self._classes[1].take(classes)))
        (mantissas, exponents), *others = factors
        for mantissa, exponent in others:
            mantissas, carried = np.frexp(mantissas * mantissa)
            exponents = exponents + exponent + carried
        return mantissas, exponents

    def _look(self) -> tuple[Integers | None, int | None]:
        """Which rows are present, and the exponent that serves all minibatches, if one does."""
        rows, found, seen = len(self._targets), [], set[int]()
        for start in range(0, rows, CHUNK):
            ids = np.arange(start, min(start + CHUNK, rows))
            mantissas, exponents = self._parts(ids)
            there = mantissas > 0
            found.append(ids[there])
            seen.update(np.unique(exponents[there]).tolist())
        present = np.concatenate(found)
        alike = bool(seen) and max(seen) - min(seen) <= SPREAD
        return None if len(present) == rows else present, max(seen) - 1 if alike else None


def scaled(weights: Floats) -> tuple[Floats, int]:
    """Weights (n,) divided by 2^e, with the largest in [1, 2), and e; all 0: as they are."""
    exponent = int(np.frexp(weights.max())[1]) - 1 if weights.any() else 0
    return np.ldexp(weights, -exponent), exponent
