"""Convert nested JSON lists to arrays; an error names the position of the wrong value."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.parsing.wording import short_repr
from batchgrad_service.problems import InvalidError
from batchgrad_workers.arrays import Array

MAX_AXES = 16
INT64 = np.iinfo(np.int64)


def numbers(nested: list[Any], pointer: str) -> npt.NDArray[Any]:
    """`nested` as an array: int64 if all its numbers are integers, else float64.

    Raises:
        InvalidError: ragged lists, a value that is not a number, or a number that is not finite.
    """
    name = pointer[1:]
    shape: list[int] = []
    level: Any = nested
    while isinstance(level, list):
        shape.append(len(level))
        if not level:
            raise InvalidError.field(pointer, f"{name} has an empty list; expected numbers.")
        if len(shape) > MAX_AXES:
            raise InvalidError.field(pointer, f"{name} has more than {MAX_AXES} levels of lists.")
        level = level[0]
    for place, leaf in _leaves(nested, pointer, tuple(shape)):
        if isinstance(leaf, bool) or not isinstance(leaf, int | float):
            raise InvalidError.field(place, f"got {short_repr(leaf)}; expected a number.")
        if isinstance(leaf, int) and not INT64.min <= leaf <= INT64.max:
            raise InvalidError.field(
                place, "got an integer that is too large for 64 bits; expected a smaller number."
            )
    array = np.array(nested)
    _refuse_nonfinite(array, array, pointer, "finite numbers")
    return array


def cast(array: npt.NDArray[Any], pointer: str, dtype: npt.DTypeLike) -> Array:
    """`array` as the float type `dtype`.

    Raises:
        InvalidError: a number is too large for the type.
    """
    with np.errstate(over="ignore"):
        rounded = array.astype(dtype)
    _refuse_nonfinite(
        rounded, array, pointer, f"numbers within the range of {np.dtype(dtype).name}"
    )
    return rounded


def _refuse_nonfinite(
    checked: npt.NDArray[Any], given: npt.NDArray[Any], pointer: str, expected: str
) -> None:
    bad = np.argwhere(~np.isfinite(checked))
    if len(bad):
        place = "".join(f"/{index}" for index in bad[0])
        raise InvalidError.field(
            pointer + place,
            f"got {given[tuple(bad[0])]} (the first of {len(bad)} wrong values in {pointer[1:]}); "
            f"expected {expected}: remove or correct these examples.",
        )


def _leaves(level: Any, place: str, shape: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    if not shape:
        yield place, level
        return
    if not isinstance(level, list) or len(level) != shape[0]:
        got = f"a list of {len(level)}" if isinstance(level, list) else short_repr(level)
        raise InvalidError.field(
            place, f"got {got}; expected a list of {shape[0]}: all rows must have the same length."
        )
    for index, item in enumerate(level):
        yield from _leaves(item, f"{place}/{index}", shape[1:])
