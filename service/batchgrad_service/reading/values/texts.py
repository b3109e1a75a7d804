"""Read texts as numbers, truth values and dates: whole columns at a time, NaN or null for others.

n text; texts (n,) are Arrow strings without nulls.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchgrad_workers.arrays import Floats, Integers

DateForm = Literal["iso", "day_first", "month_first"]
Truths = npt.NDArray[np.bool_]

DAY_MICROSECONDS = 86_400_000_000
NO_INSTANT = np.iinfo(np.int64).min
TRUE = ("true", "yes", "t", "y")
FALSE = ("false", "no", "f", "n")

ALMOST_NUMBERS = {
    "a thousands separator": (
        r"^[+-]?\d{1,3}([,.' \x{a0}\x{202f}]\d{3})+([.,]\d+)?$",
        "write 1234.5 instead of 1,234.5",
    ),
    "a decimal comma": (r"^[+-]?\d+,\d+$", "give --decimal ,"),
    "a decimal point": (r"^[+-]?\d+\.\d+$", "give --decimal ."),
    "a percent sign": (r"^[+-]?[\d.,]+\s*%$", "write 0.12 or 12 instead of 12%"),
    "a currency": (
        r"^([+-]?[$€£¥]\s*[\d.,]+|[+-]?[\d.,]+\s*[$€£¥])$",
        "write 12 instead of $12",
    ),
}
"""Texts that a reader takes for numbers: a pattern, and what to do."""

DATE_EXAMPLES = {
    "iso": "a date like 2026-11-28 or 2026-11-28T12:30:00",
    "day_first": "day, month, year, like 28/11/2026",
    "month_first": "month, day, year, like 11/28/2026",
}

_ISO = (
    r"^(?P<year>\d{4})(?P<a>[-/])(?P<month>\d\d)(?P<b>[-/])(?P<day>\d\d)(?P<time>[T ]"
    r"(?P<hour>\d\d):(?P<minute>\d\d)(?P<c>:(?P<second>\d\d)(?P<d>\.(?P<fraction>\d{1,9}))?)?"
    r"(?P<zone>Z|(?P<sign>[+-])(?P<zone_hour>\d\d)(?P<e>:?(?P<zone_minute>\d\d))?)?)?$"
)
_SLASHED = (
    r"^(?P<first>\d{1,2})(?P<a>[/.-])(?P<last>\d{1,2})(?P<b>[/.-])(?P<year>\d{4})(?P<time>[T ]"
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?P<c>:(?P<second>\d\d))?)?$"
)


def numbers(texts: Any, decimal: str = ".") -> Floats:
    """The numbers (n,) that the texts are, NaN where one is none."""
    if decimal == ".":
        try:
            found = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
            if not np.isnan(found).any():
                return found
        except pa.ArrowInvalid:
            pass  # some are no numbers: look which
    mark = "," if decimal == "," else r"\."
    digits = rf"^[+-]?(\d+{mark}?\d*|{mark}\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$"
    are = pc.match_substring_regex(texts, digits)
    plain = pc.if_else(are, texts, pa.scalar(None, texts.type))
    if decimal == ",":
        plain = pc.replace_substring(plain, ",", ".")
    return pc.cast(plain, pa.float64()).to_numpy(zero_copy_only=False)


def truths(texts: Any) -> tuple[Truths, Truths]:
    """Which texts (n,) are truth values, and which of them are true; 0 and 1 are numbers."""
    lower = pc.utf8_lower(texts)
    true = pc.is_in(lower, value_set=pa.array(TRUE, lower.type)).to_numpy(zero_copy_only=False)
    false = pc.is_in(lower, value_set=pa.array(FALSE, lower.type)).to_numpy(zero_copy_only=False)
    return true | false, true


def almost_numbers(texts: Any) -> dict[str, Truths]:
    """For each kind of ALMOST_NUMBERS, which of the texts (n,) are of it."""
    return {
        name: pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
        for name, (pattern, _) in ALMOST_NUMBERS.items()
    }


def instants(texts: Any, form: DateForm) -> Integers:
    """Microseconds since 1970-01-01 UTC (n,); NO_INSTANT where a text is no such date.

    iso is 2026-11-28, also with / and a time, with or without a zone: without one it is UTC.
    day_first is 28/11/2026, also with . or -, and hours and minutes.
    """
    pattern = _ISO if form == "iso" else _SLASHED
    if form == "month_first":
        pattern = pattern.replace("[/.-]", "[/-]")  # dots are used with the day first alone
    are = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
    found = np.full(len(texts), NO_INSTANT)
    if are.any():
        found[are] = _instants(pc.filter(texts, pa.array(are)), pattern, form)
    return found


def _instants(texts: Any, pattern: str, form: DateForm) -> Integers:
    if form == "iso":
        try:
            cast = pc.cast(texts, pa.timestamp("us"))
            return cast.cast(pa.int64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            pass  # zones, slashes, or a 30 February: look at the parts
    parts = pc.extract_regex(texts, pattern)

    def number(name: str) -> Integers:
        if parts.type.get_field_index(name) < 0:
            return np.zeros(len(texts), np.int64)
        digits = pc.struct_field(parts, name)
        digits = pc.if_else(pc.equal(digits, ""), pa.scalar("0", digits.type), digits)
        return pc.cast(digits, pa.int64()).to_numpy(zero_copy_only=False)

    if form == "iso":
        month, day = number("month"), number("day")
        same = pc.equal(pc.struct_field(parts, "a"), pc.struct_field(parts, "b"))
        padded = pc.utf8_rpad(pc.struct_field(parts, "fraction"), 6, "0")
        fraction = pc.cast(pc.utf8_slice_codeunits(padded, 0, 6), pa.int64())
        micros = fraction.to_numpy(zero_copy_only=False)
        west = pc.equal(pc.struct_field(parts, "sign"), "-").to_numpy(zero_copy_only=False)
        zone = np.where(west, -1, 1) * (60 * number("zone_hour") + number("zone_minute"))
    else:
        first, last = number("first"), number("last")
        day, month = (first, last) if form == "day_first" else (last, first)
        same = pc.equal(pc.struct_field(parts, "a"), pc.struct_field(parts, "b"))
        micros, zone = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    year, hour, minute, second = map(number, ("year", "hour", "minute", "second"))
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    start = months.astype("datetime64[M]").astype("datetime64[D]")
    length = (months + 1).astype("datetime64[M]").astype("datetime64[D]") - start
    valid = (month >= 1) & (month <= 12) & (day >= 1) & (day <= length.astype(np.int64))
    valid &= (year >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    valid &= same.to_numpy(zero_copy_only=False)
    days = start.astype(np.int64) + day - 1
    minutes = (days * 24 + hour) * 60 + minute - zone
    return np.where(valid, (minutes * 60 + second) * 1_000_000 + micros, NO_INSTANT)
