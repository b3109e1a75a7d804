"""Attempts at a discrete Gaussian number, decided by a kernel, or exactly where it is in doubt.

An attempt has two words of 64 bits, the first bits of uniform real numbers. The first word is a
sign (1 bit), j (up to 30 bits) and the choice of k (33 bits), the second decides on acceptance.
"""

from collections.abc import Iterator
from functools import cache, partial
from itertools import count
from math import floor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from batchgrad_workers.nn.kernels.jit import compiled_in_order
from batchgrad_workers.privacy.chacha import Words
from batchgrad_workers.privacy.exact import Uniform, cumulated, exp_minus

Whole = npt.NDArray[np.int64]

MARGIN = 2.0**-36
"""More than 1000 times the error of the kernel's exp, and than what a word has beyond 53 bits."""

_K_BITS = 33
_LAST_K = 6
"""P(k > 6) is below 2^-33."""
_PIECE = 1024
"""Attempts that stay in a core's cache."""


class Doubt(NamedTuple):
    """Where the kernel does not decide: k between thresholds, and a margin around exp."""

    lowest: tuple[int, ...]
    highest: tuple[int, ...]
    margin: float


@cache
def least_doubt() -> Doubt:
    """The exact thresholds of k in units of 2^-33, rounded down and up, and `MARGIN`."""
    bounds = [cumulated(k, 128) for k in range(_LAST_K + 1)]
    return Doubt(
        tuple(floor(low * 2**_K_BITS) for low, _ in bounds),
        tuple(floor(high * 2**_K_BITS) + 1 for _, high in bounds),
        MARGIN,
    )


def exact_number(own: int, other: int, more: Iterator[int], bits: int) -> int | None:
    """The number of an attempt with these two words; None if it is rejected."""
    chosen = Uniform(own & (2**_K_BITS - 1), _K_BITS, more)
    k = next(k for k in count() if chosen.below(partial(cumulated, k)))
    j, minus = own >> _K_BITS & (2**bits - 1), own >> 63
    magnitude = k << bits | j
    if minus and not magnitude:
        return None
    halves = j * (2 * (k << bits) + j)  # x (2k + x)/2 in units of σ²/2
    accepted = Uniform(other, 64, more).below(partial(exp_minus, halves, 2 * bits + 1))
    return (-magnitude if minus else magnitude) if accepted else None


@compiled_in_order
def approximate_exp_minus(y: float) -> float:
    """exp(-y) for 0 <= y < 6.5, to 2^-45: the Taylor polynomial of exp(-y/32), to the power 32."""
    r = y * (-1 / 32)
    t = 1 + r * (1 / 8) * (1 + r * (1 / 9) * (1 + r * (1 / 10)))
    t = 1 + r * (1 / 4) * (1 + r * (1 / 5) * (1 + r * (1 / 6) * (1 + r * (1 / 7) * t)))
    t = 1 + r * (1 + r * (1 / 2) * (1 + r * (1 / 3) * t))
    t = t * t
    t = t * t
    t = t * t
    t = t * t
    return t * t


@compiled_in_order
def _passed(choice: np.int64, thresholds: tuple[int, ...]) -> np.int64:
    """How many of the seven thresholds are not above the choice."""
    t0, t1, t2, t3, t4, t5, t6 = thresholds
    found = np.int64(choice >= t0) + np.int64(choice >= t1) + np.int64(choice >= t2)
    found += np.int64(choice >= t3) + np.int64(choice >= t4) + np.int64(choice >= t5)
    return found + np.int64(choice >= t6)


@compiled_in_order
def write_accepted(
    drawn: Words,
    lowest: tuple[int, ...],
    highest: tuple[int, ...],
    margin: float,
    bits: int,
    out: Whole,
) -> tuple[int, int]:
    """Write accepted numbers to `out` until it is full, attempts end, or one is undecided.

    `drawn` (2 a,) are the words of a attempts. Returns how many numbers it wrote, and how many
    attempts it decided.
    """
    attempts = len(drawn) // 2
    numbers = np.empty(_PIECE, np.int64)
    verdicts = np.empty(_PIECE, np.int8)  # 0 rejected, 1 accepted, 2 undecided
    unit = 0.5**bits
    wrote = 0
    for first in range(0, attempts, _PIECE):
        piece = drawn[2 * first : 2 * (first + _PIECE)]
        for i in range(len(piece) // 2):
            own, other = piece[2 * i], piece[2 * i + 1]
            choice = np.int64(own & np.uint64((1 << _K_BITS) - 1))
            j = np.int64(own >> np.uint64(_K_BITS)) & ((1 << bits) - 1)
            minus = np.int64(own >> np.uint64(63))
            k = _passed(choice, lowest)
            x = j * unit
            probability = approximate_exp_minus(x * (2 * k + x) * 0.5)
            beyond = np.float64(np.int64(other >> np.uint64(11))) * 2.0**-53 - probability
            magnitude = (k << bits) | j
            numbers[i] = (magnitude ^ -minus) + minus
            undecided = (k != _passed(choice, highest)) | (abs(beyond) <= margin)
            accepted = (beyond < 0) & (magnitude >= minus)
            verdicts[i] = np.int8(2) if undecided else np.int8(accepted)
        for i in range(len(piece) // 2):
            if wrote == len(out) or verdicts[i] == 2:
                return wrote, first + i
            out[wrote] = numbers[i]
            wrote += verdicts[i]
    return wrote, attempts
