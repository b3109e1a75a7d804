"""Parameter groups of an optimizer: spans of θ with a learning rate and weight decay of their own.

α the spec's learning rate, α_t that of a step · α_g a group's: its rate at the step is α_t α_g/α.
"""

import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from typing import NamedTuple

from batchgrad import contract

Slice = tuple[str, int, int]
"""A parameter's name, its first number in θ (P,), and how many it has."""


_SHOWN = 20
"""Names of parameters in a message."""


class Unmatched(ValueError):
    """A group has no parameters; `group` is its number in the spec, from 0."""

    def __init__(self, group: int, message: str) -> None:
        super().__init__(message)
        self.group = group

    def __reduce__(self) -> tuple[type["Unmatched"], tuple[int, str]]:
        return type(self), (self.group, str(self))


class Span(NamedTuple):
    """θ[start:stop], updated with the learning rate α_t · `rate` and this weight decay."""

    start: int
    stop: int
    rate: float
    weight_decay: float


def group_of(groups: Sequence[contract.ParameterGroup], name: str) -> int | None:
    """The number of the first group whose pattern matches a parameter's name; None: no group's."""
    return next((k for k, each in enumerate(groups) if fnmatchcase(name, each.match)), None)


def check_groups(spec: contract.Optimizer, names: Sequence[str]) -> None:
    """Check that each group has at least one of the parameters with these names.

    Raises:
        Unmatched: a pattern matches none, or only parameters that an earlier group has.
    """
    found = {name: group_of(spec.groups, name) for name in names}
    for number, group in enumerate(spec.groups):
        if number in found.values():
            continue
        taken = next((name for name in names if fnmatchcase(name, group.match)), None)
        if taken is None:
            raise Unmatched(
                number,
                f"{group.match!r} matches none of the parameters, which are {_some(names)}. * "
                "stands for any characters: '*.bias' for all biases.",
            )
        earlier = spec.groups[found[taken] or 0].match
        raise Unmatched(
            number,
            f"{group.match!r} matches only parameters that an earlier group has, such as {taken} "
            f"of {earlier!r}: the first match counts. Put it before that one, or leave it out.",
        )


def spans(spec: contract.Optimizer, slices: Sequence[Slice]) -> list[Span]:
    """The spans of θ in order, neighbours with the same numbers as one; all of θ without groups.

    `slices` follow each other from 0 on.

    Raises:
        Unmatched: see `check_groups`.
    """
    if not spec.groups:
        return [Span(0, sys.maxsize, 1.0, spec.weight_decay)]
    check_groups(spec, [name for name, _, _ in slices])
    each = [Span(start, start + size, *_numbers(spec, name)) for name, start, size in slices]
    runs = (list(run) for _, run in groupby(each, key=lambda span: span[2:]))
    return [run[0]._replace(stop=run[-1].stop) for run in runs]


def _numbers(spec: contract.Optimizer, name: str) -> tuple[float, float]:
    """The `rate` and the weight decay of the parameter with this name."""
    number = group_of(spec.groups, name)
    if number is None:
        return 1.0, spec.weight_decay
    group = spec.groups[number]
    rate = spec.learning_rate if group.learning_rate is None else group.learning_rate
    decay = spec.weight_decay if group.weight_decay is None else group.weight_decay
    return rate / spec.learning_rate, decay


def pieces(spans: Sequence[Span], block: slice) -> Iterator[tuple[int, slice]]:
    """The parts of a block of θ that lie in one span each, with the span's number."""
    first = bisect_right(spans, block.start, key=lambda span: span.start) - 1
    for number in range(first, len(spans)):
        start, stop = spans[number][:2]
        if start >= block.stop:
            return
        yield number, slice(max(start, block.start), min(stop, block.stop))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (
        f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
    )
