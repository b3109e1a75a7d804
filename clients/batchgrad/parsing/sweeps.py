"""The jobs of a sweep: every combination of values, or samples of lists and ranges."""

import copy
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from batchgrad.errors import InvalidArgument
from batchgrad.parsing import arguments
from batchgrad.parsing.overrides import assign, parsed, split
from batchgrad.parsing.plain import plain

MOST_JOBS = 1000
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(log:)?({_NUMBER})\.\.({_NUMBER})")

Choice = dict[str, Any]
"""The values of one job, by keys such as optimizer.learning_rate."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`: uniform, or uniform in their logarithm; whole if both are."""

    low: float
    high: float
    logarithmic: bool
    whole: bool

    def at(self, fraction: float) -> float | int:
        """The number at `fraction` of the range, to 6 digits."""
        if self.logarithmic:
            value = self.low * (self.high / self.low) ** fraction
        elif self.whole:  # each of them equally often
            value = math.floor(self.low + fraction * (self.high - self.low + 1))
        else:
            value = self.low + fraction * (self.high - self.low)
        value = min(max(round(value) if self.whole else float(f"{value:.6g}"), self.low), self.high)
        return int(value) if self.whole else value


def read_over(texts: Sequence[str]) -> dict[str, list[Any]]:
    """The values of each key, from texts such as `batch_size=64,256`: YAML, as for --set."""
    over: dict[str, list[Any]] = {}
    for text in texts:
        key, values = split(text)
        if key in over:
            raise InvalidArgument(
                f"{key} is given twice: give all its values at once, {key}=VALUE,VALUE."
            )
        over[key] = parsed(text, f"[{values}]")
    return over


def choices(over: Any, samples: int | None, seed: int) -> list[Choice]:
    """The values of each job: all combinations, the last key's fastest, or `samples` of them.

    `over` has a list of values, or a range, for each key. Samples are drawn uniformly, all
    different, the same for the same seed.

    Raises:
        InvalidArgument: a range without samples, no values, or more than MOST_JOBS.
    """
    values = _checked(over)
    ranges = [key for key, one in values.items() if isinstance(one, Range)]
    if samples is None and ranges:
        raise InvalidArgument(
            f"{ranges[0]} is a range, of which samples are drawn: say how many (samples=20, "
            "--samples 20), or list its values."
        )
    counts = [_count(one) for one in values.values()]
    possible = math.inf if None in counts else math.prod(count or 0 for count in counts)
    wanted = possible if samples is None else arguments.whole("samples", samples, least=1)
    if wanted > MOST_JOBS:
        raise InvalidArgument(
            f"the sweep has {wanted} jobs; expected at most {MOST_JOBS}: give fewer values, or "
            "samples of them."
        )
    if samples is None:
        lists = [one for one in values.values() if not isinstance(one, Range)]
        return [dict(zip(values, chosen, strict=True)) for chosen in product(*lists)]
    if wanted > possible:
        raise InvalidArgument(
            f"samples is {samples}, but there are only {possible} combinations: leave samples out "
            "to train all."
        )
    return _drawn(values, int(wanted), random.Random(arguments.whole("seed", seed)))  # noqa: S311


def expand(spec: Mapping[str, Any], chosen: Sequence[Choice], name: str) -> list[dict[str, Any]]:
    """The spec of each job: with its values, its number behind its name, and the label `sweep`."""
    specs = []
    for number, values in enumerate(chosen, 1):
        one = copy.deepcopy(dict(spec))
        for key, value in values.items():
            assign(one, key, copy.deepcopy(value))
        one["name"] = f"{str(one.get('name', 'job'))[:120]}.{number}"
        labels = one.get("labels")
        one["labels"] = {**(labels if isinstance(labels, Mapping) else {}), "sweep": name}
        specs.append(one)
    return specs


def described(values: Choice) -> str:
    """The values of a job in one line."""
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _checked(over: Any) -> dict[str, list[Any] | Range]:
    if not isinstance(over, Mapping) or not over:
        raise InvalidArgument(
            f"over is {over!r:.60}; expected values by key, such as "
            '{"optimizer.learning_rate": [0.01, 0.1]}.'
        )
    return {arguments.text("a key of over", key): _values(key, one) for key, one in over.items()}


def _values(key: str, given: Any) -> list[Any] | Range:
    """A list of values, or the range that is its only one."""
    values = plain([given] if isinstance(given, str) else given)
    if not isinstance(values, list) or not values:
        raise InvalidArgument(
            f"{key} is {given!r:.60}; expected a list of values, or a range such as "
            '"0.001..0.1" or "log:0.001..0.1".'
        )
    ranges = [found for one in values if isinstance(one, str) and (found := _range(key, one))]
    if not ranges:
        return values
    if len(values) > 1:
        raise InvalidArgument(f"{key} has a range and other values: give either.")
    return ranges[0]


def _range(key: str, text: str) -> Range | None:
    match = _RANGE.fullmatch(text)
    if match is None:
        if ".." in text:
            raise InvalidArgument(f"{key} is {text!r:.60}; a range is 0.001..0.1 or log:1..100.")
        return None
    logarithmic, ends = match[1] is not None, (match[2], match[3])
    low, high = map(float, ends)
    if not low < high < math.inf or (logarithmic and low <= 0):
        above = " above 0" * logarithmic
        raise InvalidArgument(
            f"{key} is {text!r:.60}; expected two numbers{above}, the lower first."
        )
    return Range(low, high, logarithmic, all(re.fullmatch(r"[-+]?\d+", end) for end in ends))


def _count(values: list[Any] | Range) -> int | None:
    """How many values there are; None for numbers that are not whole."""
    if isinstance(values, Range):
        return int(values.high - values.low) + 1 if values.whole else None
    return len(values)


def _drawn(
    values: Mapping[str, list[Any] | Range], wanted: int, generator: random.Random
) -> list[Choice]:
    """Different samples, by `random()` alone, which is the same in every version of Python."""
    found: dict[tuple[Any, ...], Choice] = {}
    while len(found) < wanted:
        fractions = {key: generator.random() for key in values}
        at = {
            key: one.at(fractions[key])
            if isinstance(one, Range)
            else int(fractions[key] * len(one))
            for key, one in values.items()
        }
        found.setdefault(
            tuple(at.values()),
            {
                key: at[key] if isinstance(one, Range) else one[int(at[key])]
                for key, one in values.items()
            },
        )
    return list(found.values())
