"""Nested JSON lists as arrays, with the place of whatever is wrong."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_service.problems import Invalid


def numbers(nested: list[Any], pointer: str, dtype: npt.DTypeLike | None) -> npt.NDArray[Any]:
    """The array that `nested` spells; integers stay integers when `dtype` is None.

    Raises:
        Invalid: ragged lists, something that is no number, or a number that is not finite.
    """
    shape, level = [], nested
    while isinstance(level, list):
        shape.append(len(level))
        if not level:
            raise Invalid.field(pointer, f"{pointer[1:]} holds an empty list: give it numbers.")
        level = level[0]
    for place, leaf in _leaves(nested, pointer, tuple(shape)):
        if isinstance(leaf, bool) or not isinstance(leaf, int | float):
            raise Invalid.field(place, f"got {leaf!r}; expected a number.")
    try:
        array = np.array(nested, dtype)
    except OverflowError:
        raise Invalid.field(
            pointer, f"{pointer[1:]} holds a number too large for {dtype}."
        ) from None
    if array.dtype.kind == "f":
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            place = "".join(f"/{index}" for index in bad[0])
            value = array[tuple(bad[0])]
            raise Invalid.field(
                pointer + place,
                f"got {value} ({len(bad)} such values in {pointer[1:]}); expected finite numbers: "
                "remove or repair these examples.",
            )
    elif array.dtype.kind not in "iu":
        raise Invalid.field(pointer, f"{pointer[1:]} holds an integer too large for 64 bits.")
    return array


def _leaves(level: Any, place: str, shape: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    if not shape:
        yield place, level
        return
    if not isinstance(level, list) or len(level) != shape[0]:
        got = f"a list of {len(level)}" if isinstance(level, list) else repr(level)
        raise Invalid.field(
            place, f"got {got}; expected a list of {shape[0]}: all rows need the same length."
        )
    for index, item in enumerate(level):
        yield from _leaves(item, f"{place}/{index}", shape[1:])
