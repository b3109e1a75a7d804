"""Comparisons of a uniform random number with e^-y and with P(k) ∝ e^(-k²/2), by whole numbers."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from math import isqrt

Bounds = tuple[Fraction, Fraction]
"""What a real number is not below, and not above."""


class Uniform:
    """A uniform real number in [0, 1) of which the first bits are known; it draws more at need."""

    def __init__(self, number: int, bits: int, more: Iterator[int]) -> None:
        """It begins with the `bits` of `number`; further ones come from `more`, 64 at a time."""
        self._number, self._bits, self._more = number, bits, more

    def below(self, bounds: Callable[[int], Bounds]) -> bool:
        """Whether it is below a real number, given its bounds by so many terms of a series."""
        terms = 64
        while True:
            low, high = bounds(terms)
            if self._number + 1 <= low * 2**self._bits:
                return True
            if self._number >= high * 2**self._bits:
                return False
            self._number = self._number << 64 | next(self._more)
            self._bits += 64
            terms *= 2


def exp_minus(numerator: int, bits: int, terms: int) -> Bounds:
    """Bounds of e^-y for y = numerator / 2^bits: two sums of Σ (-y)^n / n!, by whole numbers.

    The terms alternate and shrink from n > y on: there the truth lies between one sum and the next.
    From n > 4 y on each is less than a quarter of the last.
    """
    last, total, power, scale = 0, 1, 1, 1
    for n in range(1, terms + 4 * (numerator >> bits) + 1):
        power *= -numerator
        last = total * (n << bits)
        total = last + power
        scale *= n << bits
    return Fraction(min(last, total), scale), Fraction(max(last, total), scale)


@cache
def cumulated(k: int, terms: int) -> Bounds:
    """Bounds of P(0) + … + P(k), where P(i) ∝ e^(-i²/2) for i from 0 on."""
    end = isqrt(2 * terms)
    weights = [exp_minus(i * i, 1, terms) for i in range(end)]
    rest = Fraction(2, 2 ** (end * end // 2))  # e^(-i²/2) < 2^(-i²/2), and the next at most half
    least, most = (sum(each) for each in zip(*weights, strict=True))
    low = sum(weight for weight, _ in weights[: k + 1]) / (most + rest)
    high = sum(weight for _, weight in weights[: k + 1]) / least
    return low, high if k + 1 < end else Fraction(1)
