"""The encoding of a table's rows as a network's inputs.

A row of `values` (p, 6) tells how a number is made of a raw row: INPUT, its place in the encoded
row; SOURCE, its column; TAKES, a part of a date, days since 1970, or VALUE for the number itself;
FILL, in a gap; MEAN and DEVIATION. A row of `matches` (g, 3) is of a column with codes: SOURCE_OF,
FIRST and COUNT. Its `places` hold, for each code from FIRST, then for any other code, then for a
gap, the number of the input that is 1, or -1 for none. All other inputs are 0.
"""

import numpy as np

from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.kernels.jit import kernel

INPUT, SOURCE, TAKES, FILL, MEAN, DEVIATION = range(6)
SOURCE_OF, FIRST, COUNT = range(3)
VALUE, YEAR, MONTH, DAY, WEEKDAY, HOUR = range(6)
DAY_MS = 86_400_000
HOUR_MS = 3_600_000


def _encode(raw: Floats, values: Floats, matches: Floats, places: Floats, out: Floats) -> Floats:
    """Column by column; dates by numpy's calendar."""
    found = np.zeros_like(out)
    for target, source, takes, fill, mean, deviation in values.tolist():
        x = raw[:, int(source)]
        gaps = np.isnan(x)
        own = x if takes == VALUE else _date_part(np.where(gaps, 0, x), int(takes))
        found[:, int(target)] = (np.where(gaps, fill, own) - mean) / deviation
    for source, first, count in matches.tolist():
        x = raw[:, int(source)]
        known = (x >= 0) & (x < count)
        code = np.where(known, np.where(known, x, 0), count + np.isnan(x)) + first
        place = places[code.astype(np.int64)].astype(np.int64)
        rows = np.flatnonzero(place >= 0)
        found[rows, place[rows]] = 1
    return found


def _date_part(days: Floats, takes: int) -> Floats:
    times = np.floor(days * DAY_MS + 0.5).astype("datetime64[ms]")
    day, month = times.astype("datetime64[D]"), times.astype("datetime64[M]")
    numbers = {
        YEAR: times.astype("datetime64[Y]").astype(np.int64) + 1970,
        MONTH: month.astype(np.int64) % 12 + 1,
        DAY: (day - month.astype("datetime64[D]")).astype(np.int64) + 1,
        WEEKDAY: (day.astype(np.int64) + 3) % 7,
        HOUR: (times - day).astype(np.int64) // HOUR_MS,
    }
    return numbers[takes].astype(np.float64)


@kernel(
    "days, takes",
    _date_part,
    where={
        "days": lambda days: (float(days) - 0.5) * 200_000,
        "takes": lambda days: int(days) % 5 + YEAR,
    },
)
def date_part(days: float, takes: int) -> float:
    """A part of the date `days` days after 1970-01-01, rounded to milliseconds.

    The calendar repeats after 400 years of 146,097 days; a year begins in March, so that the leap
    day is its last (Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
    """
    time = int(np.floor(days * DAY_MS + 0.5))
    day = time // DAY_MS
    if takes == HOUR:
        return float((time - day * DAY_MS) // HOUR_MS)
    if takes == WEEKDAY:
        return float((day + 3) % 7)
    day += 719_468  # since 0000-03-01
    era = day // 146_097
    day -= era * 146_097
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153  # 0 = March
    if takes == DAY:
        return float(day - (153 * month + 2) // 5 + 1)
    if takes == MONTH:
        return float(month + 3 if month < 10 else month - 9)
    return float(year + 400 * era + (1 if month >= 10 else 0))


def _drawn_raw(raw: Floats) -> Floats:
    """Codes, dates of some decades, and gaps."""
    drawn = np.where(np.abs(raw) < 0.5, raw * 40_000, np.floor(raw * 3))
    return np.where(raw > 1.2, np.nan, drawn)


def _drawn_values(values: Floats, raw: Floats, out: Floats) -> Floats:
    """Any input, column and part."""
    drawn = np.abs(values)
    numbers = (drawn[:, :3] * 1000).astype(int)
    drawn[:, :3] = numbers % [out.shape[1], raw.shape[1], HOUR + 1]
    drawn[:, DEVIATION] += 0.5
    return drawn


def _drawn_matches(matches: Floats, raw: Floats, places: Floats) -> Floats:
    """Any column; codes within `places`."""
    source = (np.abs(matches[:, SOURCE_OF]) * 1000).astype(int) % raw.shape[1]
    return np.stack([source, 0 * source, 0 * source + len(places) - 2], 1)


@kernel(
    "raw (n, i), values (p, 6), matches (g, 3), places (k+1) -> out (n, o)",
    _encode,
    where={
        "raw": _drawn_raw,
        "values": _drawn_values,
        "matches": _drawn_matches,
        "places": lambda places, out: (np.abs(places) * 10).astype(int) % (out.shape[1] + 1) - 1,
    },
    in_order=True,
)
def encode(raw: Array, values: Floats, matches: Floats, places: Floats, out: Array) -> None:
    """Encode rows (n, i) in float64, then round to the type of `out`."""
    for n in range(raw.shape[0]):
        row, encoded = raw[n], out[n]
        for o in range(encoded.shape[0]):
            encoded[o] = 0
        for p in range(values.shape[0]):
            x = np.float64(row[int(values[p, SOURCE])])
            takes = values[p, TAKES]
            own = values[p, FILL] if np.isnan(x) else x
            if takes != VALUE and not np.isnan(x):
                own = date_part(x, int(takes))
            encoded[int(values[p, INPUT])] = (own - values[p, MEAN]) / values[p, DEVIATION]
        for g in range(matches.shape[0]):
            x = np.float64(row[int(matches[g, SOURCE_OF])])
            code = matches[g, COUNT] + (1 if np.isnan(x) else 0)
            if 0 <= x < matches[g, COUNT]:
                code = x
            place = places[int(matches[g, FIRST]) + int(code)]
            if place >= 0:
                encoded[int(place)] = 1
