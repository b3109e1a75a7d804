"""Numbers as the pages show them; static/numbers.js writes the same."""

import re
from decimal import ROUND_HALF_UP, Context, Decimal
from math import isfinite

from batchgrad.display.numbers import NONE

POWERS = range(-4, 6)
"""Numbers of these powers of ten are written out, others as m × 10ⁿ."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_IN_TEXT = re.compile(r"(?<![\w.-])-?\d+(\.\d+)?(e[+-]?\d+)?(?![\w.])")


def number(value: float | None, digits: int = 4, *, padded: bool = False) -> str:
    """A figure with `digits` digits: −0.1235, 12,350, 1.5 × 10⁻⁷; "–" if unknown or undefined.

    In a column, `padded` keeps zeros at the end: 0.0500 beside 0.0482.
    """
    if value is None or not isfinite(value):
        return NONE
    rounded = Context(prec=digits, rounding=ROUND_HALF_UP).create_decimal(Decimal(value))
    if not rounded:
        return "0"
    power = rounded.adjusted()
    if padded and power < digits:
        rounded = rounded.quantize(Decimal(1).scaleb(power - digits + 1))
    written = "{:,f}".format if padded else _plain
    if power in POWERS:
        text = written(rounded)
    else:
        text = f"{written(rounded.scaleb(-power))} × 10{str(power).translate(_SUPERSCRIPTS)}"
    return text.replace("-", "−")


def _plain(value: Decimal) -> str:
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def typeset(text: str) -> str:
    """A sentence with its negative numbers and powers of ten as `number` writes them."""

    def written(found: re.Match[str]) -> str:
        if found[2]:
            return number(float(found[0]), digits=len(found[0].partition("e")[0].strip("-")))
        return found[0].replace("-", "−")

    return _IN_TEXT.sub(written, text)
