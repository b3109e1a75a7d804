"""The encoding of a table's rows as a network's inputs.

A row of `rules` (o, 7) tells how an input is made of a raw row: SOURCE, its column; TAKES, MATCH or
a part of a date, days since 1970, or 0 for the number itself; FILL, in a gap, MEAN and DEVIATION;
FIRST and COUNT, its column's codes in `places`. `places` (k,) holds, for each code of a column from
FIRST, then for any other code, then for a gap, the number of the input that is 1, or -1 for none.
"""

import numpy as np

from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.kernels.jit import kernel

SOURCE, TAKES, FILL, MEAN, DEVIATION, FIRST, COUNT = range(7)
VALUE, YEAR, MONTH, DAY, WEEKDAY, HOUR, MATCH = range(7)
DAY_MS = 86_400_000
HOUR_MS = 3_600_000


def _encode(raw: Floats, rules: Floats, places: Floats) -> Floats:
    """Column by column; dates by numpy's calendar."""
    found = np.empty((len(raw), len(rules)))
    for o, (source, takes, fill, mean, deviation, first, count) in enumerate(rules.tolist()):
        x = raw[:, int(source)]
        gaps = np.isnan(x)
        if takes == MATCH:
            known = (x >= 0) & (x < count)
            code = np.where(known, np.where(known, x, 0), count + gaps) + first
            found[:, o] = places[code.astype(np.int64)] == o
        else:
            own = x if takes == VALUE else _date_part(np.where(gaps, 0, x), int(takes))
            found[:, o] = (np.where(gaps, fill, own) - mean) / deviation
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


def _drawn_rules(rules: Floats, raw: Floats, places: Floats) -> Floats:
    """Any column and part; codes within `places`."""
    drawn = np.abs(rules)
    drawn[:, SOURCE] = (drawn[:, SOURCE] * 1000).astype(int) % raw.shape[1]
    drawn[:, TAKES] = (drawn[:, TAKES] * 1000).astype(int) % 7
    drawn[:, FIRST] = 0
    drawn[:, COUNT] = len(places) - 2
    drawn[:, DEVIATION] += 0.5
    return drawn


@kernel(
    "raw (n, i), rules (o, 7), places (k+1) -> out (n, o)",
    _encode,
    where={"raw": _drawn_raw, "places": lambda places: np.trunc(places), "rules": _drawn_rules},
    in_order=True,
)
def encode(raw: Array, rules: Floats, places: Floats, out: Array) -> None:
    """Encode rows (n, i) in float64, then round to the type of `out`."""
    for n in range(raw.shape[0]):
        for o in range(rules.shape[0]):
            rule = rules[o]
            x = np.float64(raw[n, int(rule[SOURCE])])
            takes = int(rule[TAKES])
            if takes == MATCH:
                code = rule[COUNT] + (1 if np.isnan(x) else 0)
                if 0 <= x < rule[COUNT]:
                    code = x
                out[n, o] = 1 if places[int(rule[FIRST]) + int(code)] == o else 0
            else:
                own = rule[FILL] if np.isnan(x) else x
                if takes != VALUE and not np.isnan(x):
                    own = date_part(x, takes)
                out[n, o] = (own - rule[MEAN]) / rule[DEVIATION]
